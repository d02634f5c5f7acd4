"""Processes that die, leave or stand still."""

from __future__ import annotations

import signal
from contextlib import suppress

import redis

from tests.chaos.faults.base import Fault, require
from tests.chaos.ground import Ground, accepts
from tests.chaos.proc import state_of
from tests.chaos.slot import Slot
from tests.helpers.pair import runs, send
from tests.helpers.stack import LEASE_S
from tests.helpers.wait import came_true, stayed_true

BUSY_WITHIN_S = 1.0


class ProcessFault(Fault):
    """Something that happens to the processes of one slot."""

    def __init__(self, ground: Ground, target: Slot, aim: Slot | None = None) -> None:
        super().__init__(ground)
        self.target = target
        self.aim = aim or target
        self.epoch = 0
        if not target.url:  # Redis may be away just now, and a device process with it
            came_true(lambda: target.epoch, self.patience_s)
            came_true(lambda: target.device_pid, self.patience_s)
            self.epoch = target.epoch
        self.before = target.pids
        self.device = target.device_pid

    def heal(self) -> None:
        for slot in {self.aim.name: self.aim, self.target.name: self.target}.values():
            slot.await_ready()

    def _await_work(self) -> None:
        """So that it dies with something in its hands, if there is any load."""
        begun = self.target.stack.keys.started(self.target.name)
        with suppress(redis.RedisError, OSError):
            came_true(lambda: self.target.redis.hlen(begun), min(BUSY_WITHIN_S, self.patience_s))

    def _require_gone(self, pids: list[int]) -> None:
        require(pids, f"{self.target.name} was not running")
        gone = came_true(lambda: not any(map(runs, pids)), self.patience_s)
        require(gone, f"{self.target.name}: {pids} still run")


class KillDevice(ProcessFault):
    """`kill -9` of the process that runs models; its parent lives."""

    kind = "kill -9 device process"
    kills = True

    def inject(self) -> None:
        self._await_work()
        send(self.aim.device_pid, signal.SIGKILL)

    def verify(self) -> None:
        require(self.device, f"{self.target.name} had no device process")
        self._require_gone([self.device])

    def heal(self) -> None:
        came_true(lambda: self.target.device_pid not in (0, self.device), self.patience_s)
        super().heal()

    def verify_healed(self) -> None:
        """Its parent has put another there, and that has registered."""
        require(self.before[0] in self.target.pids, f"{self.target.name}: its parent ended too")
        require(
            came_true(lambda: self.target.epoch > self.epoch, self.patience_s),
            f"{self.target.name}: no new epoch",
        )


class KillWorker(ProcessFault):
    """`kill -9` of parent and device process."""

    kind = "kill -9 worker"
    kills = True

    def inject(self) -> None:
        self._await_work()
        self.aim.kill()

    def verify(self) -> None:
        self._require_gone(self.before)

    def verify_healed(self) -> None:
        """Another pair has registered under its name."""
        require(not set(self.before) & set(self.target.pids), f"{self.target.name}: the same pids")
        require(
            came_true(lambda: self.target.epoch > self.epoch, self.patience_s),
            f"{self.target.name}: no new epoch",
        )


class KillGateway(ProcessFault):
    """`kill -9` of a gateway."""

    kind = "kill -9 gateway"
    kills = True

    def inject(self) -> None:
        self.aim.kill()

    def verify(self) -> None:
        self._require_gone(self.before)
        port = int(self.target.settings["PORT"])
        require(not accepts(port), f"{self.target.name}: somebody listens on its port")


class TerminateWorker(ProcessFault):
    """SIGTERM: it drains, hands the rest back and leaves with status 0."""

    kind = "SIGTERM worker"

    def inject(self) -> None:
        if self.aim.pids:
            send(self.aim.pids[0], signal.SIGTERM)

    def verify(self) -> None:
        process = self.target.process
        require(process is not None, f"{self.target.name} was never started")
        require(
            came_true(lambda: process and not process.running, self.patience_s),
            f"{self.target.name} did not end within {self.patience_s:g} s of SIGTERM",
        )
        status = process.child.returncode if process else None
        require(status == 0, f"{self.target.name} ended with status {status}")


class TerminateGateway(TerminateWorker):
    """SIGTERM: it answers or hands over those who wait, and leaves with status 0."""

    kind = "SIGTERM gateway"


class StopWorker(ProcessFault):
    """SIGSTOP of parent and device process beyond the lease, then SIGCONT: a zombie comes back."""

    kind = "stop and continue worker"

    def inject(self) -> None:
        for pid in self.aim.pids:
            send(pid, signal.SIGSTOP)

    def verify(self) -> None:
        require(self.before, f"{self.target.name} was not running")
        stopped = came_true(self._stopped, self.patience_s)
        held = stopped and stayed_true(self._stopped, min(LEASE_S + 1.5, self.patience_s))
        require(held, f"{self.target.name}: not in state T all the time")
        require(
            came_true(lambda: lease_of(self.target) is None, self.patience_s),
            f"{self.target.name} was not reaped while it stood still",
        )

    def heal(self) -> None:
        for pid in {*self.aim.pids, *self.before}:
            send(pid, signal.SIGCONT)
        super().heal()

    def verify_healed(self) -> None:
        """It found itself fenced, and has registered again."""
        require(
            came_true(lambda: self.target.epoch > self.epoch, self.patience_s),
            f"{self.target.name}: no new epoch after its lease was lost",
        )

    def _stopped(self) -> bool:
        return all(state_of(pid) == "T" for pid in self.before)


def lease_of(slot: Slot) -> float | None:
    """When a worker's lease ends; None if it has none, 0 while Redis does not answer."""
    with suppress(redis.RedisError, OSError):
        score = slot.redis.zscore(slot.stack.keys.workers, slot.name)
        return None if score is None else float(score)
    return 0.0
