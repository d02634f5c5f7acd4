"""The model: what a cell's state must become. The scripts' shared moves, in plain Python.

It predicts: `state` starts as what was and is changed by these moves; then it is compared with what
is. Where the scripts may choose (which of two equally loaded holders, what a new token is), the
model takes the choice from what is, and checks that it was allowed.
"""

from __future__ import annotations

import hashlib

from tests.model import load_target
from tests.model.state import Item, State

ORDER_TTL, JOB_TTL, CLAIM_TTL = 20_000, 3_600_000, 1000
LEAVING_TTL, ORDER_UNITS, QUEUE_HEADS = 7_200_000, 12, 16
KEY_TTL = 86_400_000
RESULT_TTL, LEAP_SPARE, REPLIES_TTL, STALL_SPARE = 3_600_000, 86_400_000, 60_000, 900_000
_PARTS = {
    "load": "loads", "unloadable": "unloadable", "breaker": "breakers", "replies": "replies",
    "gateway": "protocols",
    "request": "records", "tombstone": "tombstone", "idempotency": "idempotency",
    "answers": "answers", "reply_stream": "reply_streams",
    "stats": "stats", "warm": "warm", "leaving": "leaving", "orders": "told", "session": "pins",
    "no_capacity": "no_capacity", "incompatible": "incompatible", "affinity": "affinity",
    "failed_on": "failed_on", "crashed": "crashed",
    "outcomes": "outcomes", "loaded_versions": "loaded_versions",
}  # fmt: skip


class Wrong(AssertionError):
    """Redis did what the model does not allow."""


def must(holds: bool, what: str) -> None:
    """A check that names itself."""
    if not holds:
        raise Wrong(what)


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode("latin-1")).hexdigest()


def job_id(ref: str, token: str) -> str:
    return f"load-{sha1(ref)[:16]}-{token}"


class Prediction:
    """The prediction of one step at `now` (ms). `after` is what is, for choices only."""

    def __init__(
        self, state: State, after: State, now: int, seen_tokens: set[tuple[str, str]]
    ) -> None:
        self.state, self.after, self.now = state, after, now
        self._tokens = seen_tokens
        self._serial = 0
        self._streams = {"work": state.work, "parked": state.parked}
        self.free_choice = False
        self.begin_call()
        self.notes: list[str] = []  # what was decided on the way, to be counted
        self._expire()

    def begin_call(self) -> None:
        """What a call of a script remembers is forgotten: one step may be several calls."""
        self.looked: dict[str, int] = {}  # the queue at which a spill was thought about
        self.found_nobody: set[str] = set()  # to take a further copy
        self.orders_written = 0

    def work_done(self, entries: int) -> int:
        """What is taken off a budget: an order costs as much as so many entries."""
        return entries + ORDER_UNITS * self.orders_written

    def note(self, what: str) -> None:
        self.notes.append(what)

    # Keys with a lifetime ----------------------------------------------------------------------

    def _expire(self) -> None:
        for key in [key for key, at in self.state.expires.items() if at <= self.now]:
            self.forget(key)

    def forget(self, key: str) -> None:
        """Delete a key that has a lifetime."""
        self.state.expires.pop(key, None)
        kind, _, name = key.partition(":")
        if key.startswith("rq:job:"):
            self.state.jobs.discard(key.removeprefix("rq:job:"))
        elif kind == "refused_models":
            self.state.refused_models.clear()
        elif kind == "withdrawn":
            self.state.withdrawn.clear()
        elif kind == "protocols":
            self.state.rows.clear()
        elif kind in _PARTS:
            part = getattr(self.state, _PARTS[kind])
            part.discard(name) if isinstance(part, set) else part.pop(name, None)

    def lives(self, key: str, ms: int) -> None:
        """Give a key a lifetime."""
        self.state.expires[key] = self.now + ms

    # Workers and the breaker -------------------------------------------------------------------

    def note_protocol(self, process: str, lease_ms: int) -> None:
        """Until when a process of this release lives, unless another is known to live as long."""
        row = self.state.rows.get("1 1", "0")
        if int(row.split()[0]) < self.now + lease_ms:
            self.state.rows["1 1"] = f"{self.now + lease_ms * 11 // 10} {process}"
            self.lives("protocols", KEY_TTL)
            self.note("protocol: noted")

    def epoch_is(self, worker: str, epoch: str) -> bool:
        return self.state.workers.get(worker, {}).get("epoch") == epoch

    def live_holders(self, ref: str) -> set[str]:
        leases = self.state.leases
        return {w for w in self.state.holders.get(ref, ()) if leases.get(w, 0) > self.now}

    def breaker(self, ref: str) -> str:
        """`closed`, `probe` or `open`."""
        held = self.state.breakers.get(ref, {})
        if "until" not in held:
            return "closed"
        return "probe" if self.opens_at(ref) <= self.now else "open"

    def opens_at(self, ref: str) -> int:
        held = self.state.breakers[ref]
        return max(int(held["until"]), int(held.get("probe_until", 0)))

    def note_trouble(self, ref: str, ms: int) -> None:
        """It is among what cannot be asked, for so long."""
        there = {
            known: until for known, until in self.state.refused_models.items() if until > self.now
        }
        self.state.refused_models = there | {ref: self.now + ms}
        self.lives("refused_models", max(ms, 3_600_000))

    # Streams -----------------------------------------------------------------------------------

    def add(self, kind: str, name: str, item: Item) -> str:
        """Append to a stream; a stand-in for the id that Redis gives."""
        self._serial += 1
        entry = f"?{self._serial}"
        self._streams[kind].setdefault(name, {})[entry] = item
        if kind == "work":
            self.state.pending.setdefault(name, set())
            self.state.groups.setdefault(name, set())
        return entry

    def take(self, kind: str, name: str, entry: str) -> Item | None:
        """Remove an entry from a stream, and what is known of it there."""
        item = self._streams[kind].get(name, {}).pop(entry, None)
        if item is not None and kind == "work":
            if name in self.state.workers:  # else the stream goes as a whole, chunk by chunk
                self.state.pending.get(name, set()).discard(entry)
            self.begun_ends(name, entry)
        return item

    def begun_ends(self, worker: str, entry: str) -> None:
        begun = self.state.started.get(worker, {})
        begun.pop(entry, None)
        if not begun:
            self.state.started.pop(worker, None)

    def place_of(self, request: str) -> tuple[str, str, str] | None:
        """Stream kind, name and entry that the record points to."""
        record = self.state.records.get(request, {})
        if "stream" not in record:
            return None
        kind, _, name = record["stream"].partition(":")
        return kind, name, record["entry"]

    def note_warm(self, ref: str, worker: str, epoch: str, tier: str) -> None:
        """A hint that a worker keeps a model in this tier; '' takes it back."""
        if tier:
            hints = self.state.warm.setdefault(ref, {}) | {worker: f"{tier} {epoch}"}
            self.state.warm[ref] = {w: hint for w, hint in hints.items() if w in self.state.leases}
            self.lives(f"warm:{ref}", load_target.NEAR_TTL)
        else:
            self.state.warm.get(ref, {}).pop(worker, None)
        if not self.state.warm.get(ref):
            self.forget(f"warm:{ref}")

    def note_leaving(self, ref: str, worker: str, epoch: str) -> None:
        """A retired copy drains; '' takes it back."""
        name = ref.partition(":")[0]
        notes = self.state.leaving.setdefault(name, {})
        if epoch:
            notes[f"{ref} {worker}"] = epoch
            self.lives(f"leaving:{name}", LEAVING_TTL)
        else:
            notes.pop(f"{ref} {worker}", None)
        if not notes:
            self.forget(f"leaving:{name}")
