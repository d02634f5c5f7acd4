"""What clients did and saw, as Jepsen writes it: `invoke`, then `ok`, `fail` or `info`.

| phase | the client knows |
|---|---|
| `invoke` | it is about to ask |
| `ok` | it was told a state: accepted, or a terminal one |
| `fail` | it was refused: nothing of it may ever be seen |
| `info` | nothing: the connection broke, so either is legal |

One line of JSON per event, in the order in which they happened.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

ACCEPTED = "accepted"


class Event(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One line. `at` in seconds since the start; `request` is the id that the server gave."""

    at: float
    op: int
    kind: str
    phase: str
    model: str = ""
    key: str = ""
    request: str = ""
    state: str = ""
    code: str = ""
    status: int = 0
    worker: str = ""
    right: bool = True
    limit_s: float = 0.0
    note: str = ""


class History:
    """Events in memory, and in a file as they come."""

    def __init__(self, path: Path) -> None:
        self.events: list[Event] = []
        self._file = path.open("wb", buffering=0)  # whole, also if this run is killed
        self._begun = time.monotonic()
        self._ops = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._begun

    def begin(self, kind: str, model: str, limit_s: float, key: str = "") -> Op:
        """Write `invoke`; what comes of it is told to the result."""
        op = Op(self, next(self._ops), kind, model, key, limit_s)
        op.note("invoke")
        return op

    def add(self, event: Event) -> None:
        """Keep and write one event."""
        self.events.append(event)
        self._file.write(msgspec.json.encode(event) + b"\n")


class Op:
    """One operation of one client."""

    def __init__(
        self, history: History, number: int, kind: str, model: str, key: str, limit_s: float
    ) -> None:
        self.number = number
        self.kind = kind
        self.key = key
        self._model = model
        self._limit_s = limit_s
        self._history = history

    def note(
        self, phase: str, *, request: str = "", state: str = "", code: str = "", status: int = 0,
        worker: str = "", right: bool = True, note: str = "",
    ) -> None:  # fmt: skip
        """Write an event of this operation."""
        event = Event(
            at=self._history.now(), op=self.number, kind=self.kind, phase=phase, model=self._model,
            key=self.key, request=request, state=state, code=code, status=status, worker=worker,
            right=right, limit_s=self._limit_s, note=note,
        )  # fmt: skip
        self._history.add(event)


def read(path: Path) -> list[Event]:
    """The events of a file."""
    decoder = msgspec.json.Decoder(Event)
    return [decoder.decode(line) for line in path.read_bytes().splitlines()]
