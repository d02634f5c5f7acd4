"""Whether a history is one that the promise allows. Each check returns what violates it.

Jepsen's total-queue check, for requests: whatever was accepted has one terminal state, nobody was
told two, each answer is right, and whoever was told `cancelled` is told nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tests.chaos.faults.network import CutStore
from tests.chaos.faults.poison import KIND as POISON
from tests.chaos.history import ACCEPTED, Event
from tests.chaos.schedule import Injected
from tests.judge.outcomes import TERMINAL, Record, verdict

PATIENT_S = 10.0  # whoever gives this long must not expire
AFTERMATH_S = 5.0  # a failed load is remembered, and S3's client backs off
WORKER_DIED = ("dead_lettered", "quarantined")  # when a request's workers died as often as allowed
AFTERWARDS = "afterwards"  # the kind of the operations that ask each gateway in the end
NO_STORE = ("store_unavailable", "repository")


@dataclass(frozen=True)
class Ended:
    """How a request stands in Redis when all is over; `state` is '' where there is nothing."""

    state: str
    worker: str = ""
    right: bool = True


@dataclass(frozen=True)
class Seen:
    """All that a check may look at."""

    events: list[Event]
    ended: Mapping[str, Ended]
    answers: Mapping[int, int] = field(default_factory=dict)  # stream operation -> answers
    replies: Mapping[tuple[str, str], int] = field(default_factory=dict)
    injected: list[Injected] = field(default_factory=list)


def violations(seen: Seen) -> list[str]:
    """Everything that is wrong, each with the operation to look for in the history."""
    return [f"{check.__name__}: {text}" for check in CHECKS for text in check(seen)]


def records(seen: Seen) -> dict[str, Record]:
    """What clients and Redis have of each request that has an id."""
    found: dict[str, Record] = defaultdict(lambda: Record(accepted=False))
    for event in seen.events:
        if not event.request:
            continue
        record = found[event.request]
        record.accepted |= event.state == ACCEPTED
        if event.phase == "ok" and event.state in TERMINAL:
            record.said.add(_by(event.state, event.worker))
    for request, ended in seen.ended.items():
        found[request].kept = ended.state
        found[request].right = ended.right
        if ended.state:
            found[request].said.add(_by(ended.state, ended.worker))
    return found


def every_request_has_one_outcome(seen: Seen) -> Iterable[str]:
    """As told to callers, and as kept."""
    yield from verdict(records(seen))


def every_answer_is_right(seen: Seen) -> Iterable[str]:
    """As delivered."""
    yield from (f"op {e.op} on {e.model}" for e in seen.events if not e.right)


def nothing_is_forgotten(seen: Seen) -> Iterable[str]:
    """Who polls for what was accepted is told of it."""
    for event in seen.events:
        if event.state == "lost":
            yield f"op {event.op}: {event.request} is answered {event.status} {event.code}"


def no_reply_comes_twice(seen: Seen) -> Iterable[str]:
    """A gateway is told of a request's end once."""
    for (stream, request), times in seen.replies.items():
        if times > 1:
            yield f"{request} {times} times on {stream}"


def every_stream_entry_is_answered_once(seen: Seen) -> Iterable[str]:
    """One written again, since nobody knew, may be answered as often as it was written."""
    unsure = defaultdict(int)
    for event in seen.events:
        unsure[event.op] += event.phase == "info"
    for event in seen.events:
        if event.kind == "stream" and event.state == ACCEPTED:
            times = seen.answers.get(event.op, 0)
            if not 1 <= times <= 1 + unsure[event.op]:
                yield f"op {event.op} was answered {times} times"


def cancelled_is_final(seen: Seen) -> Iterable[str]:
    """Who was told 204 is told, and finds, nothing else."""
    taken_back = {e.request: e for e in seen.events if e.kind == "cancel" and e.status == 204}
    for request, event in taken_back.items():
        if seen.ended[request].state != "cancelled":
            yield f"op {event.op}: {request} is {seen.ended[request].state!r} in the end"


def only_the_cancelled_are_cancelled(seen: Seen) -> Iterable[str]:
    """Nobody else's request is."""
    for event in seen.events:
        if event.state == "cancelled" and event.kind not in ("cancel", "hang up"):
            yield f"op {event.op} ({event.kind})"


def a_key_is_one_request(seen: Seen) -> Iterable[str]:
    """However often it was asked, and each is answered in the end."""
    requests: dict[str, set[str]] = defaultdict(set)
    answered: dict[str, bool] = defaultdict(bool)
    for event in seen.events:
        if event.key:
            answered[event.key] |= event.state in TERMINAL
            if event.phase == "ok" and event.request:
                requests[event.key].add(event.request)
    yield from (
        f"{key}: {len(found)} requests" for key, found in requests.items() if len(found) > 1
    )
    yield from (f"{key}: never answered" for key, ended in answered.items() if not ended)


def only_the_hurried_expire(seen: Seen) -> Iterable[str]:
    """Nothing waited as long as that."""
    for event in seen.events:
        if event.state == "expired" and event.limit_s >= PATIENT_S and event.kind != POISON:
            yield f"op {event.op} ({event.kind} {event.model}) after {event.limit_s:g} s"


def what_failed_had_a_reason(seen: Seen) -> Iterable[str]:
    """Its workers died over it, or the store was away when its model was to be loaded: between
    asking and being told, which takes until Redis and a gateway are there again."""
    dark = [(i.begun, i.healed + AFTERMATH_S) for i in seen.injected if i.kind == CutStore.kind]
    asked = {event.op: event.at for event in reversed(seen.events)}
    for event in seen.events:
        if event.state != "failed" or event.code in WORKER_DIED:
            continue
        met = any(a <= event.at and asked[event.op] <= b for a, b in dark)
        excused = event.code in NO_STORE and met
        if not excused:
            yield f"op {event.op} ({event.kind} {event.model}): {event.code} {event.note}"


def poison_fails(seen: Seen) -> Iterable[str]:
    """Nothing else may come of it."""
    for event in seen.events:
        if event.kind == POISON and event.state in TERMINAL and event.state != "failed":
            yield f"op {event.op}: {event.state}"


def who_is_refused_is_told_when_to_come_back(seen: Seen) -> Iterable[str]:
    """429 and 503 carry Retry-After."""
    for event in seen.events:
        if event.phase == "fail" and event.note:
            yield f"op {event.op}: {event.status} {event.code}: {event.note}"


def every_gateway_serves_afterwards(seen: Seen) -> Iterable[str]:
    """At the first try."""
    for event in seen.events:
        if event.kind == AFTERWARDS and event.phase not in ("invoke", "ok"):
            yield f"op {event.op}: {event.phase} {event.status} {event.code} {event.note}"


def every_fault_was_verified(seen: Seen) -> Iterable[str]:
    """A fault that did not happen proves nothing."""
    yield from (f"{i.kind} at {i.begun:.1f} s: {i.wrong}" for i in seen.injected if i.wrong)


def _by(state: str, worker: str) -> tuple[str, str]:
    """An outcome; the name of a worker belongs to that of a success alone."""
    return state, worker if state == "succeeded" else ""


CHECKS: tuple[Callable[[Seen], Iterable[str]], ...] = (
    every_request_has_one_outcome,
    every_answer_is_right,
    nothing_is_forgotten,
    no_reply_comes_twice,
    every_stream_entry_is_answered_once,
    cancelled_is_final,
    only_the_cancelled_are_cancelled,
    a_key_is_one_request,
    only_the_hurried_expire,
    what_failed_had_a_reason,
    poison_fails,
    who_is_refused_is_told_when_to_come_back,
    every_gateway_serves_afterwards,
    every_fault_was_verified,
)
