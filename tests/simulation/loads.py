"""Loads and copies as the scripts see them: one load at a time, no copy freed under a request."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from tests.simulation.kinds import BUDGET
from tests.simulation.process import Process
from tests.simulation.server import Effect, Ran
from tests.simulation.zoo import Model

if TYPE_CHECKING:
    from tests.simulation.history import History

ARGS = 5  # EVALSHA, its hash, 1, the prefix, now


class Loads:
    """Load leases by model, epochs by worker, copies by process."""

    def __init__(self, history: History, before: Loads | None = None) -> None:
        """`before`: what there was when Redis lost everything; copies live in processes."""
        self._history = history
        self._claimed: dict[str, str] = {}  # ref -> token of the load in flight
        self._holders: set[tuple[str, str]] = set()  # model, worker: as the map says
        self.epochs: dict[str, Process | None] = {}
        self._leased: set[str] = set()
        self._paused: set[tuple[str, str]] = set()  # models that are not to be loaded for a while
        self._orphans: set[str] = set()  # parked, and nobody was going to load them
        self._copies: dict[Process, weakref.WeakSet[Model]] = before._copies if before else {}
        self._answered: dict[Process, set[str]] = before._answered if before else {}
        self.loads = 0

    def before(self, process: Process, args: tuple[Any, ...], ran: Ran) -> None:
        """What a script was allowed to do, judged by what was so before it."""
        given = [str(arg) for arg in args[ARGS:]] if ran.script in _LOADING else []
        if ran.script == "announce" and given[3] and ran.reply >= 0:
            self._holds(given[2], given[3], ran.script, given[0])
        elif ran.script == "fail_load" and ran.reply >= 0:
            self._holds(given[1], given[2], ran.script, given[0])

    def after(self, process: Process, args: tuple[Any, ...], ran: Ran) -> None:
        """What a script made so."""
        if ran.script == "claim_load" and ran.reply in (b"claimed", b"suspect"):
            self._claim(str(args[ARGS + 2]), str(args[ARGS + 3]))
        elif ran.script == "refuse_load" and ran.reply == b"no_worker":
            self._claimed[str(args[ARGS + 1])] = str(args[ARGS + 2])  # to fail it, no more
        elif ran.script == "reload" and ran.reply:
            self._claim(str(args[ARGS + 2]), ran.reply.decode())
        elif ran.script == "announce" and ran.reply >= 0:
            self._holders.add((str(args[ARGS + 2]), str(args[ARGS])))
        elif ran.script == "sweep":
            self._swept()
        elif ran.script == "register" and isinstance(ran.reply, bytes):
            self.epochs[str(args[ARGS])] = process
        elif ran.script == "reap" and ran.reply:
            self.epochs[ran.reply[0].decode()] = None
        elif (ran.script == "fence_worker" and ran.reply >= 0) or (
            ran.script == "leave" and ran.reply
        ):
            self.epochs[str(args[ARGS])] = None

    def follow(self, effect: Effect, kind: str, name: str) -> None:
        """A load lease that goes makes room for another load."""
        gone = effect.command in ("DEL", "EXPIRED")
        if kind == "load":
            (self._leased.discard if gone else self._leased.add)(name)
        elif kind in ("breaker", "unloadable"):
            (self._paused.discard if gone else self._paused.add)((kind, name))
        if kind == "load" and gone:
            self._claimed.pop(name, None)
        elif kind == "holders" and effect.command == "HDEL":
            self._holders -= {(name, worker) for worker in effect.args}

    def _swept(self) -> None:
        """I17: what is parked has a load lease, after two sweeps at the latest."""
        parked = {r.ref for (stream, _), r in self._history.entries.items() if ":parked:" in stream}
        orphans = parked - self._leased - {ref for _, ref in self._paused}
        if forgotten := orphans & self._orphans:
            self._history.violated(f"I17: parked, and nobody is to load it: {sorted(forgotten)}")
        self._orphans = orphans

    def _claim(self, ref: str, token: str) -> None:
        if self._claimed.get(ref, token) != token:
            self._history.violated(f"I16: {ref} is claimed under two tokens")
        self._claimed[ref] = token

    def _holds(self, ref: str, token: str, script: str, worker: str) -> None:
        again = script == "announce" and (ref, worker) in self._holders
        if self._claimed.get(ref) != token and not again:
            self._history.violated(f"I16: {script} of {ref} without its load lease")

    def model(self, what: str, model: Model, process: Process) -> None:
        """A model is loaded, run or freed."""
        if model.freed:
            self._history.violated(f"I18: {process}: {what} of {model.ref}, which is freed")
        copies = self._copies.setdefault(process, weakref.WeakSet())
        if what == "load":
            copies.add(model)
            self.loads += 1
            used = sum(copy.bytes_resident for copy in copies if not copy.freed)
            if used > BUDGET:
                self._history.violated(f"I19: {process} holds {used} of {BUDGET} bytes")
        if what == "unload":
            self._freed(model, process)

    def answered(self, process: Process, entry: str) -> None:
        """The outcome of an entry is on its way to Redis: no copy is needed for it any more."""
        self._answered.setdefault(process, set()).add(entry)

    def held(self, process: Process) -> set[str]:
        """The models that a process has and has not freed."""
        return {copy.ref for copy in self._copies.get(process, ()) if not copy.freed}

    def _freed(self, model: Model, process: Process) -> None:
        worker = process.name.partition("/")[0]
        if self.epochs.get(worker) is not process:
            return  # fenced: what was placed here is another's
        placed = [
            request.id
            for (stream, entry), request in self._history.entries.items()
            if stream.endswith(f":work:{worker}")
            and request.ref == model.ref
            and entry not in self._answered.get(process, ())
        ]
        if placed:
            self._history.violated(f"I18: {process} freed {model.ref} under {placed}")


_LOADING = ("announce", "fail_load")
