"""What to evict for a newcomer: a pure function of the ledger, of who is in use, and of a policy.

Nobody goes who is pinned, or in use (unless `may_drain`: then after all that are idle). A copy that
is loading is no resident, so it cannot go. Nobody goes in vain, and nobody who could be spared.

Who goes first: the idle; then those of low priority (9 before 5 before 1); then copies that other
workers hold too and that nobody used for a while; then by the policy's rank. So priority is worth
more than anything a policy knows, but it is no pin: a newcomer of lower priority may evict a model
of higher priority once there is nobody else, unless that was used within its minimum residency.

The thrash guard: a copy younger than its minimum residency is not evicted for a newcomer of no
higher priority. That newcomer waits, and the refusal says why and until when.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from worker.residency.candidates import Resident, Wanted
from worker.residency.ledger import Ledger
from worker.residency.projection import Projection, models_are

# A copy that other workers hold too goes first once it has rested for so long. Sooner, a hot model
# would lose its further copies between two requests, and they would be ordered again at once.
SURPLUS_REST_S = 5.0
PINNED = "pinned"
MEANWHILE = "the version that requests get meanwhile"
MEANWHILE_S = 5.0  # a trial may take the place of one that nobody has asked for so long


@dataclass(frozen=True)
class Plan:
    """`evict` these, and the newcomer fits. The one worth least is first."""

    evict: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """The newcomer does not fit: `never` on this device, or only not now. `why` is for people;
    `until`: when to look again, if time alone will help. `stuck`: all that stands in the way is
    pinned, so waiting will hardly help."""

    never: bool
    why: str
    until: float | None = None
    stuck: bool = False


class Ranks(Protocol):
    """What a plan asks a policy."""

    def rank(self, resident: Resident) -> float:
        """Lower goes first."""


def plan(
    ledger: Ledger, wanted: Wanted, residents: Sequence[Resident], policy: Ranks, now: float,
    *, max_models: int = 0, may_drain: bool = False,
) -> Plan | Refusal:  # fmt: skip
    """Whom to evict so that `wanted` fits the budget, its group, and `max_models` (0: no limit) on
    the device. Of all sets that are enough it is the one whose dearest copy is cheapest, then the
    next dearest, and so on."""
    size = wanted.footprint.total
    if size > ledger.whole:
        return Refusal(True, f"needs {size} bytes, the whole budget is {ledger.whole}")
    if size > ledger.budget:
        left = f"only {ledger.budget} of {ledger.whole} can be used just now"
        return Refusal(False, f"needs {size} bytes, {left}")
    space = Projection(ledger, wanted, residents, max_models)
    if space.fits:
        return Plan(())
    stays = {r.ref: _stays(r, wanted, now, may_drain) for r in residents}
    may_go = [r for r in residents if stays[r.ref] is None]
    chosen = _enough(space, in_order(ledger, may_go, policy, now))
    if chosen is None:
        stay = {ref: stay for ref, stay in stays.items() if stay is not None}
        why = f"{space.lack}; {_blame(space, stay, residents)}"
        pinned = all(s.why in (PINNED, MEANWHILE) for s in stay.values())
        stuck = pinned and space.others <= len(residents)
        return Refusal(False, why, _until(space, stay), stuck)
    return Plan(_only_needed(space, chosen))


def in_order(
    ledger: Ledger, residents: Sequence[Resident], policy: Ranks, now: float
) -> list[Resident]:
    """Those who may go, the first to go first."""
    shares = ledger.shares()

    def key(resident: Resident) -> tuple[bool, int, bool, float, bool, float]:
        sized = replace(resident, bytes=shares.get(resident.ref, resident.bytes))
        rests = now - resident.last_used >= max(SURPLUS_REST_S, resident.min_residency_s)
        return (
            resident.busy, -resident.priority, not (resident.surplus and rests),
            policy.rank(sized), not resident.surplus, resident.last_used,
        )  # fmt: skip

    return sorted(residents, key=key)


def _enough(space: Projection, order: Sequence[Resident]) -> list[str] | None:
    """As many from the front as make the newcomer fit; None if all are not enough."""
    chosen: list[str] = []
    for resident in order:
        if space.fits:
            break
        space.drop(resident.ref)
        chosen.append(resident.ref)
    return chosen if space.fits else None


def _only_needed(space: Projection, chosen: Sequence[str]) -> tuple[str, ...]:
    """Spare, the dearest first, whom it does not need after all (a later one was larger)."""
    needed = list(chosen)
    for ref in reversed(chosen):
        space.restore(ref)
        if space.fits:
            needed.remove(ref)
        else:
            space.drop(ref)
    return tuple(needed)


class Stay(NamedTuple):
    """Why a resident is not evicted, and until when if that passes by itself."""

    why: str
    until: float | None = None


def _stays(resident: Resident, wanted: Wanted, now: float, may_drain: bool) -> Stay | None:
    if resident.pinned:
        return Stay(PINNED)
    if wanted.trial and _is_asked_meanwhile(resident, wanted, now):
        return Stay(MEANWHILE)
    if resident.busy and (wanted.trial or not may_drain):
        return Stay("in use")
    grown = resident.loaded_at + resident.min_residency_s
    rested = resident.last_used + resident.min_residency_s
    if wanted.priority > resident.priority and now < rested:
        return Stay("of higher priority and just used", max(grown, rested))
    if wanted.priority >= resident.priority and now < grown:
        return Stay("younger than the minimum residency", grown)
    return None


def _is_asked_meanwhile(resident: Resident, wanted: Wanted, now: float) -> bool:
    same_model = resident.ref.partition(":")[0] == wanted.ref.partition(":")[0]
    return same_model and (resident.busy or now - resident.last_used < MEANWHILE_S)


def _until(space: Projection, stay: dict[str, Stay]) -> float | None:
    """When enough residents may go by the passing of time; `space` has lost all that may go now."""
    passing = sorted((s.until, ref) for ref, s in stay.items() if s.until is not None)
    for until, ref in passing:
        space.drop(ref)
        if space.fits:
            return until
    return None


def _blame(space: Projection, stay: dict[str, Stay], residents: Sequence[Resident]) -> str:
    """Who stands in the way."""
    if residents and all(s.why == "in use" for s in stay.values()) and len(stay) == len(residents):
        return "every model is in use"
    counts = Counter(s.why for s in stay.values())
    names = {s.why: ":".join(ref.split(":")[:2]) for ref, s in stay.items()}
    said = [
        f"{names[why]} is {why}" if count == 1 else f"{models_are(count)} {why}"
        for why, count in counts.items()
    ]
    if space.others > len(residents):
        said.append(f"{models_are(space.others - len(residents))} loading or leaving")
    return ", ".join(said) or "nothing may be evicted"
