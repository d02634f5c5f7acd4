"""The outcomes of planning and evicting: memory was freed, a copy stays, or a copy is draining."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Freed:
    """The memory is free; where bytes were to be reserved, they are."""


@dataclass(frozen=True)
class Stays:
    """Nothing was freed, since a copy stays. `why` is for people. `never`: what is to be loaded is
    larger than this device allows. `until`: when time alone will help, in seconds of the clock of
    the plan. `stuck`: all that could be evicted is pinned, so waiting will hardly help."""

    why: str
    never: bool = False
    until: float | None = None
    stuck: bool = False


@dataclass(frozen=True)
class Draining:
    """Copies that are in use take no new requests; `done` completes when they are freed."""

    done: asyncio.Future[list[None]]


FREED = Freed()
