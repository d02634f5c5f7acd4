"""The rules that hold after every step, whatever the model says. Numbers as in PROTOCOL.md."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tests.model.copy_invariants import CopyHistory, check_copies
from tests.model.prediction import must, sha1
from tests.model.state import Item, State

_TERMINAL = {"succeeded", "failed", "cancelled", "expired"}
_LIVE = {"placed", "parked", "running"}
_WITH_LIFETIME = {
    "load": "loads", "unloadable": "unloadable", "breaker": "breakers", "replies": "replies",
    "gateway": "protocols",
    "request": "records", "tombstone": "tombstone", "idempotency": "idempotency",
    "answers": "answers",
    "rq:job": "jobs", "stats": "stats", "warm": "warm", "leaving": "leaving",
    "orders": "told", "session": "pins",
    "no_capacity": "no_capacity", "incompatible": "incompatible", "affinity": "affinity",
    "failed_on": "failed_on", "crashed": "crashed",
    "outcomes": "outcomes", "loaded_versions": "loaded_versions",
}  # fmt: skip


def live(state: State) -> list[tuple[str, str, Item]]:
    """Stream, entry and item of all that waits or runs."""
    streams = [(f"work:{w}", entries) for w, entries in state.work.items()]
    streams += [(f"parked:{ref}", entries) for ref, entries in state.parked.items()]
    return [(name, entry, item) for name, all_ in streams for entry, item in all_.items()]


def check(state: State, now: int, lost: set[str]) -> None:
    """What a look at Redis alone can tell. `lost`: requests whose stream somebody deleted."""
    _one_entry_and_the_record_points_there(state, lost)
    _the_map_is_what_live_workers_hold(state)
    if not lost:
        _begun_is_there(state)
        _a_quarantine_that_waits_for_a_probe_has_one(state, now)
    _every_key_has_a_lifetime(state)
    check_copies(state)
    unwanted = {ref for ref, load in state.loads.items() if load.phase == "ordered"}
    unwanted -= {ref for ref, load in state.loads.items() if load.extra} | state.waiting
    must(not unwanted, f"{unwanted} are ordered, and nobody waits for them")
    for letter in state.dead_letters.values():
        if letter["kind"] == "request" and letter["id"]:  # else an answer that nobody got
            must(letter["fingerprint"] == sha1(letter["body"]), "I15: body")


def _one_entry_and_the_record_points_there(state: State, lost: set[str]) -> None:
    places = live(state)
    twice = [i for i, n in Counter(item.id for _, _, item in places).items() if n > 1]
    must(not twice, f"I12: {twice} are in two places")
    for stream, entry, item in places:
        record = state.records.get(item.id)
        if "k" in item.flags:
            must(record is not None, f"I3: {item.id} lives without its record")
        if record is not None:
            must(record["status"] in _LIVE, f"I2: {item.id} lives and is {record['status']}")
            there = (record.get("stream"), record.get("entry"))
            must(
                there == (stream, entry), f"I12: {item.id} is at {stream}, its record says {there}"
            )
            must(item.id in state.deadlines, f"I6: {item.id} has no deadline to be swept by")
    alive = {item.id for _, _, item in places}
    for request, record in state.records.items():
        if "status" in record and record["status"] in _LIVE:
            must(
                request in alive or request in lost,
                f"I12: {request} is {record['status']}, but nowhere",
            )


def _the_map_is_what_live_workers_hold(state: State) -> None:
    there = {(ref, w) for ref, workers in state.holders.items() for w in workers}
    back = {(ref, w) for w, refs in state.holds.items() for ref in refs}
    must(there == back, f"I20: holders {there} and holds {back} differ")
    for ref, worker in there:
        known = worker in state.workers or state.leases.get(worker) == 0  # it is being released
        must(known, f"I20: {worker} holds {ref} and is not registered")


def _a_quarantine_that_waits_for_a_probe_has_one(state: State, now: int) -> None:
    probed = {item.ref for _, _, item in live(state) if "h" in item.flags}
    for ref, breaker in state.breakers.items():
        waits = int(breaker.get("probe_until", 0)) > now >= int(breaker.get("until", 0))
        must(not waits or ref in probed, f"I28: nobody probes {ref}, and nobody may")


def _begun_is_there(state: State) -> None:
    for worker, begun in state.started.items():
        lost = begun.keys() - state.work.get(worker, {}).keys()
        must(not lost, f"I7: {lost} are begun on {worker}, but not there")
    for worker, pending in state.pending.items():
        lost = pending - state.work[worker].keys() if worker in state.workers else set()
        must(not lost, f"I12: {lost} are pending on {worker}, but not there")


def _every_key_has_a_lifetime(state: State) -> None:
    must(not state.unknown, f"I25: nobody knows the keys {state.unknown}")
    for kind, part in _WITH_LIFETIME.items():
        for name in getattr(state, part):
            must(
                f"{kind}:{name}".rstrip(":") in state.expires, f"I25: {kind}:{name} has no lifetime"
            )
    must("protocols" in state.expires or not state.rows, "I25: protocols has no lifetime")
    must("withdrawn" in state.expires or not state.withdrawn, "I25: withdrawn has no lifetime")
    for worker in state.work:
        must(worker in state.leases, f"I25: nobody will ever delete work:{worker}")


@dataclass
class History:
    """What only a look at several states can tell."""

    attempts: int
    ended: set[str] = field(default_factory=set)
    alive: dict[str, Item] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    told_late: set[str] = field(default_factory=set)  # by their own gateway
    starts: Counter[str] = field(default_factory=Counter)
    epochs: dict[str, list[str]] = field(default_factory=dict)
    bodies: dict[str, str] = field(default_factory=dict)

    lost: set[str] = field(default_factory=set)
    promised: set[str] = field(default_factory=set)
    copies: CopyHistory = field(default_factory=CopyHistory)

    def check(self, state: State) -> None:
        """Compare with what was before."""
        now_alive = {item.id: item for _, _, item in live(state)}
        for request in now_alive:
            must(request not in self.ended, f"I1: {request} ended and lives again")
        for request, item in now_alive.items():
            must(item.attempts <= self.starts[request], f"I7: {request} was charged too much")
            must(item.attempts < self.attempts, f"I7: {request} may not start again")
            before = self.bodies.setdefault(request, item.body)
            must(item.body == before, f"I15: the payload of {request} changed")
        for request in self.alive.keys() - now_alive.keys():
            self.ended.add(request)
            if request in self.lost:
                continue
            told = state.records.get(request, {}).get("status") in _TERMINAL
            must(told or request not in self.promised, f"I3: the outcome of {request} is lost")
            replies = state.replies.get(self.alive[request].reply)
            heard = (
                replies is None
                or request in self.cancelled | self.told_late
                or any(r["id"] == request for r in replies)
            )
            must(heard, f"I3: the caller of {request} waits for ever")
        self.alive = now_alive
        self._outcomes(state)
        self._epochs(state)
        self.copies.check(state)

    def _outcomes(self, state: State) -> None:
        told: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for gateway, replies in state.replies.items():
            ids = Counter(r["id"] for r in replies if r["id"])
            must(not ids or max(ids.values()) == 1, f"I11: {gateway} was told twice: {ids}")
            for r in replies:
                if r["id"]:
                    told[r["id"]].add((r["status"], r["outcome"]))
        for request, record in state.records.items():
            if record.get("status") in _TERMINAL:
                told[request].add((record["status"], record["outcome"]))
        for request, outcomes in told.items():
            must(request not in self.alive, f"I1: {request} lives and has an outcome")
            must(len(outcomes) == 1, f"I1: {request} has several outcomes: {outcomes}")
            if request in self.cancelled:
                must(outcomes.copy().pop()[0] == "cancelled", f"I10: {request} was cancelled")

    def _epochs(self, state: State) -> None:
        for worker, record in state.workers.items():
            must("epoch" in record, f"I20: {worker} has a record without an epoch")
            had = self.epochs.setdefault(worker, [])
            must(record["epoch"] not in had[:-1], f"I20: an epoch of {worker} came back")
            if record["epoch"] not in had:
                had.append(record["epoch"])


def check_quiet(state: State) -> None:
    """When all has ended nothing is left but what has a lifetime, or waits at a door."""
    for part in (
        "leases", "workers", "work", "pending", "started", "holders", "holds", "loading", "parked",
        "waiting", "deadlines",
    ):  # fmt: skip
        left = getattr(state, part)
        must(not left, f"I25: all has ended, and {part} still has {left}")
    for request, record in state.records.items():
        must(record["status"] in _TERMINAL, f"I1: {request} is for ever {record['status']}")
