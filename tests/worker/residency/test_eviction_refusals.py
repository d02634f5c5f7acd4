"""Why a newcomer is refused, in words for people, and when to look again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.scenes import own, resident
from worker.residency.eviction import plan
from worker.residency.eviction_policy import Lru
from worker.residency.ledger import Ledger
from worker.residency.outcome import Stays
from worker.residency.projection import LoadCandidate

NOW = 1000.0
PINNED, BUSY = {"pinned": True}, {"busy": True}
YOUNG = {"loaded_at": NOW - 1, "min_residency_s": 3.0}
OLDER = {"loaded_at": NOW - 2, "min_residency_s": 3.0}
ABOVE = {"priority": 2, "last_used": NOW - 1, "min_residency_s": 5.0}


def refuse(
    budget: int, held: list[tuple[str, int, dict[str, Any]]], wanted: int = 60, **how: Any
) -> Stays:
    """The refusal for a newcomer of `wanted` bytes."""
    ledger = Ledger(budget)
    for ref, size, _ in held:
        ledger.reserve(ref, own(size))
    residents = [resident(ref, **changes) for ref, _, changes in held if not ref.startswith("load")]
    decision = plan(ledger, LoadCandidate("new", own(wanted)), residents, Lru(), NOW, **how)
    assert isinstance(decision, Stays)
    return decision


def test_what_is_larger_than_the_budget_is_refused_for_good() -> None:
    """With both figures; nothing is evicted for it."""
    refused = refuse(50, [("a", 10, {})])
    assert refused == Stays("needs 60 bytes, the whole budget is 50", never=True)


def test_what_is_larger_than_a_shrunken_budget_is_not_refused_for_good() -> None:
    """Other processes may give back what they took."""
    ledger = Ledger(100)
    ledger.budget = 50
    refused = plan(ledger, LoadCandidate("new", own(60)), [], Lru(), NOW)
    assert refused == Stays("needs 60 bytes, only 50 of 100 can be used just now")


@pytest.mark.parametrize(
    ("held", "why", "until"),
    [
        ([("a", 70, PINNED)], "needs 60 bytes, 30 are free; a is pinned", None),
        ([("a", 30, BUSY), ("b", 30, BUSY)], "needs 60 bytes, 40 are free; every model is in use",
         None),
        ([("load", 50, {})], "needs 60 bytes, 50 are free; 1 model is loading or leaving", None),
        ([("bert:1:0123456789ab", 70, YOUNG)],
         "needs 60 bytes, 30 are free; bert:1 is younger than the minimum residency", NOW + 2),
        ([("a", 70, ABOVE)],
         "needs 60 bytes, 30 are free; a is of higher priority and just used", NOW + 4),
        ([("a", 70, {**ABOVE, "loaded_at": NOW})],  # and it will be young for longer
         "needs 60 bytes, 30 are free; a is of higher priority and just used", NOW + 5),
        ([("a", 10, {}), ("b", 60, PINNED), ("c", 10, BUSY), ("d", 10, BUSY)],
         "needs 60 bytes, 10 are free and 10 can be freed; b is pinned, 2 models are in use", None),
        ([("a", 50, YOUNG), ("b", 50, OLDER)],
         "needs 60 bytes, 0 are free; 2 models are younger than the minimum residency", NOW + 2),
        ([("a", 30, YOUNG), ("b", 70, OLDER)],
         "needs 60 bytes, 0 are free; 2 models are younger than the minimum residency", NOW + 1),
        ([("a", 50, YOUNG), ("b", 50, PINNED)],
         "needs 60 bytes, 0 are free; a is younger than the minimum residency, b is pinned", None),
    ],
)  # fmt: skip
def test_a_refusal_names_the_figures_and_who_stands_in_the_way(
    held: list[tuple[str, int, dict[str, Any]]], why: str, until: float | None
) -> None:
    """Until: when enough of them are old enough, if waiting alone can be enough."""
    refused = refuse(100, held)
    assert (refused.never, refused.why, refused.until) == (False, why, until)
    assert refused.stuck is why.endswith("; a is pinned")


def test_a_refusal_for_the_number_of_models_says_so() -> None:
    """The bytes would fit."""
    refused = refuse(100, [("a", 10, BUSY), ("b", 10, PINNED)], max_models=2)
    assert refused.why == "2 models are here, at most 2 may be; a is in use, b is pinned"
