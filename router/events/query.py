"""The query of a reader of the event log: which events, and from when on."""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import strptime

from shared.errors import InvalidInput
from shared.events import KINDS, START, Event, Position, position_of
from shared.names import VERSION, check_model_name

MAX_WORKER = 256  # characters
LAST = (1 << 64) - 1  # the highest number that Redis gives an entry of one millisecond
ENTRY = re.compile(r"\d{1,15}(-\d{1,20})?", re.ASCII)
AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class EventFilter:
    """A filter; an empty field accepts all events. `model` is a name or name:version."""

    model: str = ""
    worker: str = ""
    kinds: frozenset[str] = frozenset()

    def __call__(self, event: Event) -> bool:
        """Whether an event passes."""
        if self.kinds and event.kind not in self.kinds:
            return False
        if self.worker and event.worker != self.worker:
            return False
        return not self.model or self.model in (event.model, f"{event.model}:{event.version}")


def parse_filter(query: Mapping[str, str], kinds_given: Iterable[str] = ()) -> EventFilter:
    """`?model=&worker=`, and each `?kind=`, which may be a comma list. InvalidInput names the
    field."""
    kinds = [kind for text in kinds_given for kind in text.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidInput(f"kind: {kind[:40]!r} is not one of {', '.join(KINDS)}")
    worker = query.get("worker", "")
    if len(worker) > MAX_WORKER or ("worker" in query and not worker):
        raise InvalidInput(f"worker: want 1 to {MAX_WORKER} characters")
    return EventFilter(_model(query), worker, frozenset(kinds))


def _model(query: Mapping[str, str]) -> str:
    text = query.get("model")
    if text is None:
        return ""
    name, colon, version = text.partition(":")
    if colon and not VERSION.fullmatch(version):
        raise InvalidInput("model: want a name, or name:version")
    try:
        check_model_name(name)
    except InvalidInput as error:
        raise InvalidInput(f"model: {error.message}") from None
    return text


def parse_since(text: str, now_ms: int, field: str = "since") -> Position:
    """The position behind which to read: an entry id (that event itself is not wanted), a time, or
    a time ago by Redis's clock, `now_ms`. InvalidInput names the field."""
    if ENTRY.fullmatch(text):
        position = position_of(text)
        if position[1] <= LAST:
            return position
    if ago := AGO.fullmatch(text):
        return _before(now_ms - int(ago[1]) * UNITS_MS[ago[2]])
    try:
        return _before(timegm(strptime(text, TIME)) * 1000)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{field}: want an event's id such as 1700000000000-0, a time such as "
            "2026-01-02T03:04:05Z, or 90s, 10m, 2h or 1d ago"
        ) from None


def _before(ms: int) -> Position:
    return (ms - 1, LAST) if ms > 0 else START
