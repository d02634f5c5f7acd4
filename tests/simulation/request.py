"""A request, as the changes that scripts make show it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Request:
    """One request, from its first entry on."""

    id: str
    ref: str
    deadline_ms: int  # by the cell's clock
    attempts: int = 0
    live: tuple[str, str] | None = None  # stream, entry
    begun: dict[str, str] = field(default_factory=dict)  # entry -> batch
    ended: str = ""
    ended_ms: int = 0
    left: str = ""  # the entry that was deleted last
    left_stream: str = ""
    homes: list[str] = field(default_factory=list)  # streams on which a start of it was charged
    times: int = 0  # it was ended
    said: set[tuple[str, str]] = field(default_factory=set)  # all its ends
