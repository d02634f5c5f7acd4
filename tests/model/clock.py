"""The cell's clock, as `lua/keep_clock.lua` keeps it and `lua/lib/grace.lua` reads it."""

from __future__ import annotations

from typing import NamedTuple

from tests.model.model import Model
from tests.model.prediction import must
from tests.model.run import LEASE_MS, Choices, Run

FAR_MS = 1000


class Clock(NamedTuple):
    """Until when gateways have followed Redis's clock, what they took off, and the grace."""

    seen: int
    offset: int = 0
    grace: int = 0
    lease: int = LEASE_MS

    @property
    def text(self) -> str:
        return " ".join(map(str, self))


def clock_of(text: str) -> Clock | None:
    return Clock(*map(int, text.split())) if text else None


def grace_of(m: Model) -> int:
    """Until when nobody is dead (0: there is no grace)."""
    noted = clock_of(m.state.clock)
    return noted.grace if noted and noted.grace > m.now else 0


async def keep_clock(run: Run, c: Choices) -> None:
    """A gateway follows Redis's clock; if it is far, perhaps somebody knows that time passed."""
    await attend(run, c.chance(2), c.chance(3))


async def attend(run: Run, knows: bool = True, stale: bool = False) -> None:
    """One look of a gateway, with what it knows of the gap before, if there is one."""
    noted = clock_of(run.state.clock)
    mark = f"{noted.seen - stale}/{noted.offset}" if noted and knows else ""
    kept, m = await run.call("keep_clock", run.scripts.keep_clock(LEASE_MS, mark, 0))
    far = noted is not None and abs(m.now - noted.offset - noted.seen) > FAR_MS
    asked = f"{noted.seen}/{noted.offset}" if noted and far and (stale or not knows) else ""
    must(kept == (m.now, asked), f"keep_clock says {kept}, not {asked!r}")
    if not asked:
        _follow(m, noted)
    run.count("keep_clock", "asked" if asked else "was away" if far else "followed")
    run.check("keep_clock", m)


def _follow(m: Model, noted: Clock | None) -> None:
    seen = max(m.now, noted.seen) if noted else m.now
    away = noted is None or m.now - noted.seen > FAR_MS
    grace = seen + LEASE_MS if away or noted is None else noted.grace
    m.state.clock = Clock(seen, 0, grace).text
    if grace <= seen:
        return
    for leases, released in ((m.state.leases, m.state.workers), (m.state.gateways, None)):
        for name, until in leases.items():
            if until < grace and (released is None or name in released):
                leases[name] = grace
