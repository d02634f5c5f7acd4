"""Where processes are killed at their failpoints: a stack, and who of it is armed.

One gateway is never armed. The worker and a second gateway look at a file of failpoints, each kind
at its own, so a point is armed while they run. The parent of a device process that died starts
another one; whatever ended altogether is started anew.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import msgspec

from shared.manifest import parse
from shared.policy import Affinity, Policy
from tests.failpoints.asked import PATIENCE_S, Ledger
from tests.helpers.models import Mlp, Slow, publish_mlp, publish_slow
from tests.helpers.pair import runs
from tests.helpers.stack import Process, Stack
from tests.helpers.wait import block_until

BUDGET = 10_000_000
# A lease that is not over when a busy machine holds the worker up for two seconds: what is reaped
# by a gateway is neither fenced nor released by its parent.
SETTINGS = {"WARMROUTE_MEMORY_BYTES": str(BUDGET), "WARMROUTE_LEASE_S": "3"}
MOST_CRASHES = 3  # after that many a worker's parent waits longer and longer before it restarts


class Field:
    """`arm` a point of a kind, let a scenario reach it, then `killed` and `ledger.check`."""

    def __init__(self, stack: Stack, ledger: Ledger) -> None:
        self.stack = stack
        self.ledger = ledger
        self._log = stack.folder / "failpoints.log"
        self._log.touch()
        self.safe = stack.add_gateway()
        self._worker: Process | None = None
        self._gateway: Process | None = None
        self._crashes = 0
        self.armed = "", ""  # point and action
        self._dead: set[int] = set()
        self._serving: bytes | None = None  # its incarnation
        self._gone: set[bytes | None] = set()

    # Processes -------------------------------------------------------------------------------

    @property
    def worker(self) -> Process:
        """The worker that may be armed."""
        assert self._worker is not None, "see ready_device"
        return self._worker

    @property
    def gateway(self) -> Process:
        """The gateway that may be armed."""
        if self._gateway is None or not self._gateway.running:
            self._gateway = self.stack.add_gateway(**self._armed_by("gateway"))
        return self._gateway

    def ready_device(self) -> int:
        """The device process of the worker, once it serves; its pid. A worker that ended is
        followed by a new one, and so is one that has crashed too often."""
        if self._worker is not None and self._crashes >= MOST_CRASHES:
            self.stack.kill(self._worker)
        block_until(self._serves, PATIENCE_S)
        self._serving = self.shown("incarnation")
        return self.stack.device_pid(self.worker)

    def parents(self) -> set[int]:
        """The gateways, and the parent of the worker."""
        there = (self.safe, self.worker, *([self._gateway] if self._gateway else []))
        return {process.child.pid for process in there}

    def kill_device(self) -> int:
        """`kill -9` of the device process; its pid."""
        pid = self.stack.kill_device(self.worker)
        self._died(pid)
        return pid

    def _died(self, pid: int) -> None:
        """Some process of the worker."""
        self._dead.add(pid)
        self._gone.add(self._serving)
        self._crashes += 1

    def _serves(self) -> bool:
        if self._worker is None or not self._worker.running:
            settings = {**self._armed_by("worker"), **SETTINGS}
            self._worker, self._crashes = self.stack.add_worker(**settings), 0
        pid = self.stack.device_pid(self.worker)
        # What a dead one had written may still be there for a moment.
        stale = self.shown("incarnation") in self._gone
        return self.shown("state") == b"ready" and not stale and pid not in {0, *self._dead}

    def shown(self, field: str) -> bytes | None:
        """What the worker's record says."""
        value: bytes | None = self.stack.redis.hget(self.stack.keys.worker(self.worker.name), field)
        return value

    # Models ----------------------------------------------------------------------------------

    def cold(self, size: int = 8192) -> Mlp:
        """A model that nobody has asked for yet."""
        return publish_mlp(self.stack.repository, self.stack.folder, size=size)

    def warm(self, size: int = 8192) -> Mlp:
        """A model that the worker holds."""
        model = self.cold(size)
        self.ask(model, self.safe)
        return model

    def kindred(self) -> Mlp:
        """A model that nobody has asked for yet, with an affinity key: one of another name, with
        the weights of one without."""
        model = self.cold()
        repository, name = self.stack.repository, f"{model.name}-kin"
        given = parse(repository.read_manifest(model.name, 1), name=model.name, version=1)
        policy = Policy(affinity=Affinity("kin"))
        changed = msgspec.structs.replace(given, name=name, residency=policy)
        repository.put_manifest(name, 1, changed.encode())
        return dataclasses.replace(model, name=name)

    def picky(self) -> Mlp:
        """A model that nobody has asked for yet, and that takes nothing a load could make up."""
        return publish_mlp(self.stack.repository, self.stack.folder, picky=True)

    def slow(self) -> Slow:
        """A model that takes as long as it is asked to."""
        return publish_slow(self.stack.repository, self.stack.folder)

    # Failpoints ------------------------------------------------------------------------------

    def arm(self, kind: str, point: str, action: str = "kill", more: str = "") -> None:
        """From now on a process of this kind dies, or does `action`, when it gets to `point`. The
        file is never seen half written. Others may have been struck there before."""
        self.armed = point, action
        self.forget_strikes()
        file = self._file("gateway" if kind == "gateway" else "worker")
        fresh = file.with_suffix(".new")
        fresh.write_text(",".join(filter(None, (f"{point}:{action}", more))))
        fresh.rename(file)

    def disarm(self) -> None:
        """Nobody dies any more."""
        for kind in ("gateway", "worker"):
            self._file(kind).write_text("")

    def struck(self, point: str, action: str = "kill") -> int:
        """The process that got to `point` and was killed there, 0 if none was."""
        line = rf"^{re.escape(point)} {action} (\d+)$"
        found = re.search(line, self._log.read_text(), re.MULTILINE)
        return int(found[1]) if found else 0

    def reached(
        self, point: str, pids: list[int], action: str = "kill", within_s: float = PATIENCE_S
    ) -> int:
        """Wait until one of `pids` was struck at `point`; fails if it was another one, or none."""
        block_until(lambda: self.struck(point, action), within_s)
        pid = self.struck(point, action)
        assert pid in pids, f"{point}: process {pid} was struck, want one of {pids}"
        return pid

    def killed(self, point: str, pids: list[int], within_s: float = PATIENCE_S) -> None:
        """As `reached`, and it has ended."""
        pid = self.reached(point, pids, within_s=within_s)
        block_until(lambda: not runs(pid))
        if self._gateway is None or pid != self._gateway.child.pid:
            self._died(pid)

    def forget_strikes(self) -> None:
        """Every point may kill once more, in processes that begin from here on."""
        self._log.write_text("")

    def anybody_struck(self) -> bool:
        """Whether the point that is armed has killed somebody."""
        return bool(self.struck(*self.armed))

    def ask(self, model: Mlp, at: Process) -> None:
        """A caller who waits for the answer, at a gateway; it must be right."""
        question = model.question()
        said = self.stack.client(at).infer(model.name, question, timeout=PATIENCE_S)["y"]
        assert model.right(question, said)

    def _armed_by(self, kind: str) -> dict[str, str]:
        self._file(kind).write_text("")
        return {
            "WARMROUTE_FAILPOINT": f"@{self._file(kind)}",
            "WARMROUTE_FAILPOINT_LOG": str(self._log),
        }

    def _file(self, kind: str) -> Path:
        return self.stack.folder / f"{kind}.points"
