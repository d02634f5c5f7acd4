"""What a trial may push out: nobody waits for it."""

from __future__ import annotations

from tests.helpers.scenes import own
from tests.worker.residency.test_eviction import NOW, decide, scene
from worker.residency.eviction import SERVING_VERSION_S, Plan
from worker.residency.outcome import Stays
from worker.residency.projection import LoadCandidate

OLD, NEW, OTHER = "bert:1:0123456789ab", "bert:2:ba9876543210", "mnist:1:0123456789ab"
HELD = {OLD: own(50), OTHER: own(50)}
TRIAL = LoadCandidate(NEW, own(50), trial=True)
BUSY, JUST, LONG_AGO = (
    {"busy": True},
    {"last_used": NOW - 1},
    {"last_used": NOW - SERVING_VERSION_S},
)


def test_the_version_that_requests_get_meanwhile_stays() -> None:
    """If it is in use, or was a moment ago; a load that somebody waits for may take its place."""
    for used in (BUSY, JUST):
        ledger, residents = scene(100, HELD, **{OLD: used, OTHER: {"pinned": True}})
        refused = decide(ledger, TRIAL, residents, may_drain=True)
        assert isinstance(refused, Stays) and refused.stuck and not refused.never
        assert "bert:1 is the version that requests get meanwhile" in refused.why
        asked = LoadCandidate(NEW, own(50))
        assert decide(ledger, asked, residents, may_drain=True) == Plan((OLD,))


def test_one_that_nobody_has_asked_for_goes() -> None:
    """Its model is idle: who comes waits for the trial, and loads it again if that fails."""
    ledger, residents = scene(100, HELD, **{OLD: LONG_AGO, OTHER: {"pinned": True}})
    assert decide(ledger, TRIAL, residents) == Plan((OLD,))


def test_nobody_in_use_is_drained_for_it() -> None:
    """However long it waits; what is idle goes as for any newcomer."""
    ledger, residents = scene(100, HELD, **{OLD: JUST, OTHER: BUSY})
    assert isinstance(decide(ledger, TRIAL, residents, may_drain=True), Stays)
    ledger, residents = scene(100, HELD, **{OLD: JUST})
    assert decide(ledger, TRIAL, residents) == Plan((OTHER,))
