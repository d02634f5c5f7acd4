"""What to evict for a load: a pure function of the ledger, of what is in use, and of a policy.

A copy that is pinned is not evicted, nor one in use (unless `may_drain`: then after all that are
idle). A copy that is still loading is not resident, so it cannot be evicted. Nothing is evicted if
that would not be enough, and nothing that could be spared.

The order: idle copies; then those of low priority (9 before 5 before 1); then copies that other
workers hold too and that no request used for a while; then by the policy's rank. So priority counts
for more than anything a policy knows, but it is not a pin: a load of lower priority may evict a
model of higher priority once there is no other, unless that was used within its minimum residency.

The thrash guard: a copy younger than its minimum residency is not evicted for a load of no higher
priority. That load waits, and the outcome says why and until when.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from worker.residency.ledger import Ledger
from worker.residency.outcome import Stays
from worker.residency.projection import LoadCandidate, Projection, Resident, models_are

# A copy that other workers hold too is evicted first once it has been idle for this long. Sooner, a
# hot model would lose its further copies between two requests, and they would be loaded again.
SURPLUS_REST_S = 5.0
PINNED = "pinned"
SERVING_VERSION = "the version that requests get meanwhile"
SERVING_VERSION_S = 5.0  # a trial may take the place of a version that was idle for this long


@dataclass(frozen=True)
class Plan:
    """Evict these copies, and the candidate fits. The one worth least is first."""

    evict: tuple[str, ...]


class Ranks(Protocol):
    """The part of a policy that a plan needs."""

    def rank(self, resident: Resident) -> float:
        """The worth of a copy; the lowest is evicted first."""


def plan(
    ledger: Ledger, candidate: LoadCandidate, residents: Sequence[Resident], policy: Ranks,
    now: float, *, max_models: int = 0, may_drain: bool = False,
) -> Plan | Stays:  # fmt: skip
    """What to evict so that `candidate` fits the budget, its group, and `max_models` (0: no limit)
    on the device. Of all sets that are enough it is the one whose dearest copy is cheapest, then
    the next dearest, and so on."""
    size = candidate.footprint.total
    if size > ledger.whole:
        return Stays(f"needs {size} bytes, the whole budget is {ledger.whole}", never=True)
    if size > ledger.budget:
        left = f"only {ledger.budget} of {ledger.whole} can be used just now"
        return Stays(f"needs {size} bytes, {left}")
    projection = Projection(ledger, candidate, residents, max_models)
    if projection.fits:
        return Plan(())
    vetoes = {r.ref: _veto(r, candidate, now, may_drain) for r in residents}
    evictable = [r for r in residents if vetoes[r.ref] is None]
    chosen = _enough(projection, in_order(ledger, evictable, policy, now))
    if chosen is None:
        given = {ref: veto for ref, veto in vetoes.items() if veto is not None}
        return _refusal(projection, given, residents)
    return Plan(_only_needed(projection, chosen))


def in_order(
    ledger: Ledger, residents: Sequence[Resident], policy: Ranks, now: float
) -> list[Resident]:
    """The copies that may be evicted, in the order of their eviction."""
    shares = ledger.shares()

    def key(resident: Resident) -> tuple[bool, int, bool, float, bool, float]:
        sized = replace(resident, bytes=shares.get(resident.ref, resident.bytes))
        rests = now - resident.last_used >= max(SURPLUS_REST_S, resident.min_residency_s)
        return (
            resident.busy, -resident.priority, not (resident.surplus and rests),
            policy.rank(sized), not resident.surplus, resident.last_used,
        )  # fmt: skip

    return sorted(residents, key=key)


def _enough(projection: Projection, order: Sequence[Resident]) -> list[str] | None:
    """As many from the front as make the candidate fit; None if all are not enough."""
    chosen: list[str] = []
    for resident in order:
        if projection.fits:
            break
        projection.drop(resident.ref)
        chosen.append(resident.ref)
    return chosen if projection.fits else None


def _only_needed(projection: Projection, chosen: Sequence[str]) -> tuple[str, ...]:
    """Spare the copies that need not be evicted after all (a later one was larger), the dearest
    first."""
    needed = list(chosen)
    for ref in reversed(chosen):
        projection.restore(ref)
        if projection.fits:
            needed.remove(ref)
        else:
            projection.drop(ref)
    return tuple(needed)


class Veto(NamedTuple):
    """Why a resident is not evicted, and until when if that passes by itself."""

    why: str
    until: float | None = None


def _veto(resident: Resident, candidate: LoadCandidate, now: float, may_drain: bool) -> Veto | None:
    if resident.pinned:
        return Veto(PINNED)
    if candidate.trial and _serves_meanwhile(resident, candidate, now):
        return Veto(SERVING_VERSION)
    if resident.busy and (candidate.trial or not may_drain):
        return Veto("in use")
    grown = resident.loaded_at + resident.min_residency_s
    rested = resident.last_used + resident.min_residency_s
    if candidate.priority > resident.priority and now < rested:
        return Veto("of higher priority and just used", max(grown, rested))
    if candidate.priority >= resident.priority and now < grown:
        return Veto("younger than the minimum residency", grown)
    return None


def _serves_meanwhile(resident: Resident, candidate: LoadCandidate, now: float) -> bool:
    same_model = resident.ref.partition(":")[0] == candidate.ref.partition(":")[0]
    return same_model and (resident.busy or now - resident.last_used < SERVING_VERSION_S)


def _refusal(
    projection: Projection, vetoes: dict[str, Veto], residents: Sequence[Resident]
) -> Stays:
    """`projection` is without all copies that may be evicted now."""
    why = f"{projection.shortfall}; {_causes(projection, vetoes, residents)}"
    pinned = all(veto.why in (PINNED, SERVING_VERSION) for veto in vetoes.values())
    stuck = pinned and projection.others <= len(residents)
    return Stays(why, until=_until(projection, vetoes), stuck=stuck)


def _until(projection: Projection, vetoes: dict[str, Veto]) -> float | None:
    """When enough vetoes will have passed by themselves; None if that is not enough."""
    passing = sorted((v.until, ref) for ref, v in vetoes.items() if v.until is not None)
    for until, ref in passing:
        projection.drop(ref)
        if projection.fits:
            return until
    return None


def _causes(projection: Projection, vetoes: dict[str, Veto], residents: Sequence[Resident]) -> str:
    """What is in the way, for people."""
    all_in_use = all(veto.why == "in use" for veto in vetoes.values())
    if residents and all_in_use and len(vetoes) == len(residents):
        return "every model is in use"
    counts = Counter(veto.why for veto in vetoes.values())
    names = {veto.why: ":".join(ref.split(":")[:2]) for ref, veto in vetoes.items()}
    causes = [
        f"{names[why]} is {why}" if count == 1 else f"{models_are(count)} {why}"
        for why, count in counts.items()
    ]
    if projection.others > len(residents):
        causes.append(f"{models_are(projection.others - len(residents))} loading or leaving")
    return ", ".join(causes) or "nothing may be evicted"
