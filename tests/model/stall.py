"""Whether Redis was away, as `lua/lib/stall.lua` decides it."""

from __future__ import annotations

from typing import NamedTuple

from tests.model.model import Model

TTL = 3_600_000


class Grace(NamedTuple):
    """Until when nobody is dead (0: there is no grace), and whether the clock went back before."""

    until: int
    back: bool


def grace_after_stall(m: Model, lease: int = 0) -> Grace:
    """What a call of housekeeping finds, and notes."""
    known = [int(part) for part in m.state.stall.split()]
    if not known and not lease:
        return Grace(0, False)
    seen, until, noted, back = known or [0, 0, 0, 0]
    lease = lease or noted
    gap = m.now - seen
    if abs(gap) > max(750, min(lease / 2, 2500)):
        until, back = m.now + lease, int(gap < 0)
    m.state.stall = f"{m.now} {until} {lease} {back}"
    m.lives("stall", TTL)
    return Grace(until if until > m.now else 0, bool(back))


def extend(leases: dict[str, int], m: Model, lease: int, grace: Grace, kept: set[str]) -> None:
    """Leases in a grace: of those in `kept` (the others are being released)."""
    for name, until in leases.items():
        if until <= m.now and name in kept:
            leases[name] = grace.until
        elif grace.back and until > m.now + lease:
            leases[name] = m.now + lease
