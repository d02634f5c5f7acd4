"""What a run is told of: counts, faults by kind, outages, and whatever is wrong."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from tests.chaos.history import ACCEPTED, Event
from tests.chaos.schedule import Injected
from tests.judge.outcomes import TERMINAL

_AFTER_S = 1.0
_STORY_LINES = 60


@dataclass
class Report:
    """The result of a run; it passed if `wrong` is empty."""

    seed: int
    seconds: float
    counts: Mapping[str, int]
    injected: list[Injected]
    outages: Mapping[str, float]
    wrong: list[str] = field(default_factory=list)
    stories: list[str] = field(default_factory=list)  # what the history has of that

    @property
    def kills(self) -> int:
        """Faults by which a process died, as verified."""
        return sum(each.kills and not each.wrong for each in self.injected)

    def lines(self) -> Iterable[str]:
        """For people."""
        yield f"seed {self.seed}, {self.seconds:.0f} s of load"
        yield from (f"  {name:<34} {count:>7}" for name, count in self.counts.items())
        yield "faults injected and verified, and the longest time without an answer around each:"
        for kind, tried in sorted(Counter(each.kind for each in self.injected).items()):
            good = sum(each.kind == kind and not each.wrong for each in self.injected)
            yield f"  {kind:<34} {good:>3} of {tried:<3} {self.outages[kind]:>6.2f} s"
        yield f"  of these, processes killed: {self.kills}"
        yield f"violations: {len(self.wrong)}"
        yield from (f"  {line}" for line in self.stories)


def counts(
    events: list[Event], attempts: Mapping[str, int], dead: int, answers: int
) -> dict[str, int]:
    """How many of what. A request counts once, however often it was asked for or told of."""
    first: dict[int, str] = {}
    ends: dict[str, str] = {}
    for event in events:
        if event.phase == "ok" and event.state in TERMINAL:
            ends[event.request or f"op {event.op}"] = _ending(event)
        if event.phase != "invoke":
            first.setdefault(event.op, event.phase)
    accepted = {e.request or f"op {e.op}" for e in events if e.state in (ACCEPTED, "succeeded")}
    refused = {e.op for e in events if e.phase == "fail"} - _later_answered(events)
    found = {
        "submitted": sum(event.phase == "invoke" for event in events),
        "accepted": len(accepted),
        "refused (429, 503)": len(refused),
        "unknown to the client": sum(phase == "info" for phase in first.values()),
        "answered on streams": answers,
    }
    found |= dict(sorted(Counter(ends.values()).items(), key=lambda each: -each[1]))
    found["retried (seen with attempts > 0)"] = sum(n > 0 for n in attempts.values())
    found["dead letters"] = dead
    return found


def outages(events: list[Event], injected: list[Injected]) -> dict[str, float]:
    """Per kind of fault the longest time without a right answer that one of them overlaps."""
    times = [e.at for e in events if e.state == "succeeded"]
    gaps = list(itertools.pairwise(times))
    longest: dict[str, float] = defaultdict(float)
    for fault in injected:
        over = fault.healed + _AFTER_S
        found = [b - a for a, b in gaps if b > fault.begun and a < over]
        longest[fault.kind] = max([longest[fault.kind], *found])
    return longest


def stories(wrong: list[str], events: list[Event]) -> list[str]:
    """The events of the operations and requests that violations name, as the history has them."""
    told = " ".join(wrong)
    ops = {int(number) for number in re.findall(r"op (\d+)", told)}
    requests = set(re.findall(r"[0-9a-f]{32}", told))
    ops |= {event.op for event in events if event.request in requests}
    found = [
        msgspec.json.encode(event).decode()
        for event in events
        if event.op in ops and event.phase != "fail"
    ]
    return found[:_STORY_LINES]


def _ending(event: Event) -> str:
    return f"failed: {event.code}" if event.state == "failed" else event.state


def _later_answered(events: list[Event]) -> set[int]:
    return {event.op for event in events if event.phase == "ok"}
