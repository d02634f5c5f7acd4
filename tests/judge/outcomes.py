"""Exactly one outcome: the one judge of simulation, failpoints and chaos.

Each engine writes down what it saw of a request, in its own way: simulation follows what scripts
change, failpoints watch every command that Redis runs, chaos asks as clients do. What that allows
is decided here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

TERMINAL = ("succeeded", "failed", "cancelled", "expired")


@dataclass
class Record:
    """What was seen of one request.

    `kept`: the state that Redis has of it in the end, '' for none. `said`: every end that anybody
    was given, with whose work it was. `times`: how often it was ended, where that could be counted.
    """

    kept: str = ""
    accepted: bool = True
    said: set[tuple[str, str]] = field(default_factory=set)
    times: int = 1
    allowed: Collection[str] = TERMINAL
    right: bool = True


def lost(records: Mapping[str, Record]) -> Iterable[str]:
    """Accepted requests that did not end."""
    for request, record in records.items():
        if record.accepted and record.kept not in TERMINAL:
            yield f"{request} is {record.kept or 'unknown'!r} in the end"


def doubled(records: Mapping[str, Record]) -> Iterable[str]:
    """Requests that ended more than once, or in more than one way."""
    for request, record in records.items():
        if record.kept in TERMINAL and record.times != 1:
            yield f"{request} ended {record.times} times"
        if len(record.said) > 1:
            yield f"{request} ended in several ways: {sorted(record.said)}"


def wrong(records: Mapping[str, Record]) -> Iterable[str]:
    """Requests with a wrong answer, or with an end that they must not have."""
    for request, record in records.items():
        if not record.right:
            yield f"{request}: a wrong answer"
        if record.kept in TERMINAL and record.kept not in record.allowed:
            yield f"{request} ended as {record.kept}"


def verdict(records: Mapping[str, Record]) -> list[str]:
    """Everything that is wrong; [] if each request that was accepted has one outcome, the right
    one."""
    return [*lost(records), *doubled(records), *wrong(records)]
