"""What became of every request, followed through the changes that scripts make, and judged at once.

The numbers are the rules of the protocol page; I13 is judged in `keyed.py`, I16 to I19 in
`loads.py`, what can only be seen at rest (I5, I20, I25) in `rest.py`. Nothing here is told by the
product's own counters: an entry appears when a script adds it and is gone when a script deletes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from shared.keys import Keys
from tests.judge.outcomes import TERMINAL, Record, verdict
from tests.simulation import outcomes
from tests.simulation.keyed import Keyed
from tests.simulation.loads import ARGS, Loads
from tests.simulation.process import Process
from tests.simulation.request import Request
from tests.simulation.server import Effect, Ran
from tests.simulation.waits import Waits
from tests.simulation.zoo import Model

MAX_ATTEMPTS = 3
ACCEPTING = ("place", "replay")
Clock = Callable[[], int]
WIPING = ("reap", "register", "leave", "fence_worker", "release")


class History:
    """Requests by id. `violations` is empty as long as all is well."""

    def __init__(self, keys: Keys, lease_s: float, now_ms: Clock, cell_ms: Clock) -> None:
        self._prefix = keys.prefix + ":"
        self.lease_s = lease_s
        self.requests: dict[str, Request] = {}
        self.entries: dict[tuple[str, str], Request] = {}
        self.dead: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.loads = Loads(self)
        self.keyed = Keyed(self)
        self._removed: dict[str, Request] = {}
        self.said: dict[str, set[tuple[str, str]]] = {}
        self._args: tuple[Any, ...] = ()
        self.cell_ms, self.waits = cell_ms, Waits(self.violated, now_ms)

    def violated(self, text: str) -> None:
        """Write down what must not be."""
        self.violations.append(text)

    def split(self, key: str) -> tuple[str, str]:
        """`work`, `w1` for `{cell}:work:w1`; `''` for a key outside of the cell."""
        if not key.startswith(self._prefix):
            return "", key
        kind, _, name = key[len(self._prefix) :].partition(":")
        return kind, name

    # One command -------------------------------------------------------------------------------

    def ran(self, process: Process, args: tuple[Any, ...], ran: Ran, now_ms: int) -> None:
        """Follow what a command did."""
        if not ran.script and not ran.effects:
            return
        outcomes.count(self.counts, ran)
        if changed := outcomes.refused_but_changed(ran):
            self.violated(f"I9: {ran.script} answered {ran.reply!r} and did {changed}")
        self._removed, self.said = {}, {}
        self._args = args
        self.waits.ran(process, args, ran)
        self.loads.before(process, args, ran)
        if ran.script == "place":
            self.keyed.placed(args, ran)
        for effect in ran.effects:
            self._follow(effect, ran.script)
        self._settle(ran, args, now_ms)
        self.loads.after(process, args, ran)

    def _follow(self, effect: Effect, script: str) -> None:
        kind, name = self.split(effect.key)
        if kind in ("work", "parked") and name:
            self._move(effect, kind, name, script)
        elif kind == "started" and effect.command == "HSET":
            self._begin(effect, name)
        elif kind == "started" and effect.command == "HDEL":
            self._spare(effect, name)
        elif kind == "replies" and effect.command == "XADD":
            self._say(effect.entry)
        elif kind == "request" and effect.command == "HSET" and "status" in effect.fields:
            self._say({"id": name, **effect.fields})
        elif kind == "idempotency" and effect.command == "DEL":
            self.keyed.freed(name, script)
        elif kind == "dead_letters" and effect.command == "XADD":
            self._bury(effect.entry)
        self.loads.follow(effect, kind, name)

    # Where a request is ------------------------------------------------------------------------

    def _move(self, effect: Effect, kind: str, name: str, script: str) -> None:
        if effect.command == "XADD":
            self._arrive(effect, script)
        elif effect.command == "XDEL" and effect.answer == 1:
            self._leave(effect)
        elif effect.command in ("DEL", "EXPIRED"):
            lost = [r.id for r in self.entries.values() if r.live and r.live[0] == effect.key]
            if lost:
                self.violated(f"I3: {script} deleted {kind}:{name} with {lost}")

    def _arrive(self, effect: Effect, script: str) -> None:
        given = effect.entry
        known = self.requests.get(given["id"])
        if known is None and script not in ACCEPTING:
            self.violated(f"I4: {script} made {given['id']} out of nothing")
        request = known or Request(given["id"], given["model"], int(given["deadline"]))
        self.requests[request.id] = request
        if known is None:
            self.waits.arrived(request)
        if request.ended:
            self.violated(f"I1: {script} brought {request.id} back after {request.ended}")
        if request.live:
            self.violated(
                f"I12: {script} put {request.id} to {effect.key}, it is in {request.live}"
            )
        self._attempts(request, int(given["attempts"]), script)
        if script == "place":
            self._bounded(effect.key, request.ref)
        request.live = (effect.key, str(effect.answer))
        self.entries[request.live] = request
        self._removed.pop(request.id, None)

    def _attempts(self, request: Request, attempts: int, script: str) -> None:
        """A start is charged when its worker is given up; by a parent, only what it saw running."""
        batch = request.begun.get(request.left, "") if request.id in self._removed else ""
        charged = bool(batch) and script in WIPING
        if script == "fence_worker":
            charged = batch == str(self._args[ARGS + 2])
        if attempts != request.attempts + charged or attempts >= MAX_ATTEMPTS:
            self.violated(f"I7: {script}: {request.id} from {request.attempts} to {attempts}")
        if charged:
            request.homes.append(request.left_stream)
        request.attempts = attempts

    def _bounded(self, stream: str, ref: str) -> None:
        """A parked stream has a limit; on a work stream each model has one, and beyond four times
        it a small share."""
        work, parked = int(self._args[ARGS]), int(self._args[ARGS + 1])
        there = [request.ref for (key, _), request in self.entries.items() if key == stream]
        queued, own = len(there), there.count(ref)
        full = queued >= parked
        if ":work:" in stream:
            full = own >= work or (queued >= 4 * work and own >= max(1, work // 16))
        if full:
            self.violated(f"I24: {stream} holds {queued} requests, and took one more")

    def _leave(self, effect: Effect) -> None:
        request = self.entries.pop((effect.key, effect.args[0]), None)
        if request is None:
            self.violated(f"I8: {effect.key} gave {effect.args[0]}, which was never there")
            return
        request.left, request.left_stream = effect.args[0], effect.key
        request.live = None
        self._removed[request.id] = request

    def _bury(self, letter: dict[str, str]) -> None:
        if letter.get("kind") == "request":
            self.dead.add(letter["id"])
            if letter["fingerprint"] != letter["body"]:
                self.violated(f"I15: the letter of {letter['id']} is not what was sent")
            if int(letter["attempts"]) < MAX_ATTEMPTS:
                self.violated(f"I7: {letter['id']} is dead after {letter['attempts']} attempts")

    def _begin(self, effect: Effect, worker: str) -> None:
        for entry, batch in effect.fields.items():
            request = self.entries.get((f"{self._prefix}work:{worker}", entry))
            if request is None:
                self.violated(f"I2: {worker} began {entry}, which is not there")
                continue
            if (late := self.cell_ms() - request.deadline_ms) >= 0:
                self.violated(f"I14: {request.id} began {late} ms late")
            request.begun[entry] = batch

    def _spare(self, effect: Effect, worker: str) -> None:
        """It was not on the device: whoever moves it charges no start."""
        for entry in effect.args:
            request = self.entries.get((f"{self._prefix}work:{worker}", entry))
            if request is not None:
                request.begun.pop(entry, None)

    # How it ended ------------------------------------------------------------------------------

    def _say(self, given: dict[str, str]) -> None:
        known = self.requests.get(given.get("id", ""))
        if given.get("id") and given["status"] in TERMINAL:
            said = (given["status"], given.get("outcome", ""))
            self.said.setdefault(given["id"], set()).add(said)
        elif known is not None and known.ended:
            self.violated(f"I2: {known.id} is {given['status']} after it was {known.ended}")

    def _settle(self, ran: Ran, args: tuple[Any, ...], now_ms: int) -> None:
        for request_id, said in self.said.items():
            if request_id not in self._removed:
                self.violated(f"I1: {ran.script} said {said} of {request_id}, which it had not won")
            elif len(said) > 1:
                self.violated(f"I11: {ran.script} said {said} of {request_id}")
        taken_back = outcomes.taken_back(ran, args[ARGS:])
        for request in self._removed.values():
            said = self.said.get(request.id)
            if request.id in taken_back:  # of a warm request nobody but its gateway knows
                said = said or {(taken_back[request.id], "")}
            if not said:
                self.violated(f"I12: {ran.script} took {request.id} and did nothing with it")
                continue
            request.ended, request.ended_ms = min(said)[0], now_ms
            request.times += 1
            self.waits.ended(request, request.ended, ran.script)
            request.said |= said
            self.counts[f"ended {request.ended}"] += 1
        for request_id, status in taken_back.items():
            ended = self.requests.get(request_id)
            if ended is None or ended.ended != status:
                self.violated(f"I10: {status} {request_id}, which {ended}")

    def forget_all(self) -> None:
        """Redis lost everything, at a moment in which nothing was under way."""
        self.keyed, self.loads = Keyed(self), Loads(self, self.loads)

    # At the end --------------------------------------------------------------------------------

    def finish(self, healed_ms: int, slack_ms: int) -> None:
        """Judge what can be judged only when nothing moves any more."""
        found = {r.id: Record(r.ended, said=r.said, times=r.times) for r in self.requests.values()}
        self.violations += [f"I1: {text}" for text in verdict(found)]
        for request in filter(lambda one: one.ended, self.requests.values()):
            late = self.waits.late_ms(request, healed_ms)
            if late > self.lease_s * 1000 + slack_ms:
                self.violated(f"I6: {request.id} ended {late} ms after its deadline")
        for request_id in self.dead & set(self.requests):
            if self.requests[request_id].ended != "failed":
                self.violated(f"I15: {request_id} is a dead letter: {self.requests[request_id]}")

    def model(self, what: str, model: Model, process: Process) -> None:
        """A model is loaded, run or freed."""
        self.loads.model(what, model, process)
