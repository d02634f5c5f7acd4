"""What to evict for a newcomer: a pure function of the ledger and of who is in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worker.ledger import Footprint, Ledger


@dataclass(frozen=True)
class Resident:
    """A copy that may be evicted. `last_used` in seconds of any one clock; busy ones go last."""

    ref: str
    last_used: float
    busy: bool


@dataclass(frozen=True)
class Plan:
    """`evict` these, in order, and the newcomer fits."""

    evict: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """The newcomer does not fit: `never` by itself, or only not now (others are loading)."""

    never: bool


def plan(ledger: Ledger, wanted: Footprint, residents: Sequence[Resident]) -> Plan | Refusal:
    """Least recently used first, idle before busy, and no more than needed.

    A newcomer that cannot fit is refused before anything is evicted.
    """
    if wanted.total > ledger.budget:
        return Refusal(never=True)
    chosen: list[str] = []
    for resident in sorted(residents, key=lambda r: (r.busy, r.last_used)):
        if ledger.used_with(wanted, chosen) <= ledger.budget:
            break
        chosen.append(resident.ref)
    if ledger.used_with(wanted, chosen) > ledger.budget:
        return Refusal(never=False)
    return Plan(_only_needed(ledger, wanted, chosen))


def _only_needed(ledger: Ledger, wanted: Footprint, chosen: list[str]) -> tuple[str, ...]:
    """Spare, most recently used first, whom it does not need after all (a later one was larger)."""
    needed = list(chosen)
    for ref in reversed(chosen):
        spared = [other for other in needed if other != ref]
        if ledger.used_with(wanted, spared) <= ledger.budget:
            needed = spared
    return tuple(needed)
