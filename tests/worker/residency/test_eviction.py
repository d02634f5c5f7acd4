"""What to evict for a newcomer: the rules, one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.footprint import Footprint
from tests.helpers.scenes import own, resident, shares
from worker.residency.eviction import Plan, in_order, plan
from worker.residency.eviction_policy import Lru
from worker.residency.ledger import Ledger
from worker.residency.outcome import Stays
from worker.residency.projection import LoadCandidate, Resident

A10B20C30 = {"a": own(10), "b": own(20), "c": own(30)}
NOW = 1000.0


def scene(
    budget: int, held: dict[str, Footprint], loading: int = 0, **changes: dict[str, object]
) -> tuple[Ledger, list[Resident]]:
    """A ledger and its residents, the first one used longest ago. `changes` by model."""
    ledger = Ledger(budget)
    if loading:
        ledger.reserve("loading", own(loading))
    for ref, footprint in held.items():
        ledger.reserve(ref, footprint)
    found = [
        resident(r, **{"last_used": float(n), **changes.get(r, {})}) for n, r in enumerate(held)
    ]
    return ledger, found


def decide(
    ledger: Ledger, wanted: LoadCandidate | int, residents: list[Resident], **how: object
) -> Plan | Stays:
    """The plan, least recently used first."""
    if isinstance(wanted, int):
        wanted = LoadCandidate("new", own(wanted))
    return plan(ledger, wanted, residents, Lru(), NOW, **how)


@pytest.mark.parametrize(
    ("budget", "wanted", "evicted"),
    [
        (100, 40, ()),  # there is room
        (100, 41, ("a",)),  # the oldest makes enough
        (100, 60, ("b",)),  # a and b together are too much: a is spared again
        (100, 70, ("a", "b")),
        (100, 75, ("a", "c")),  # b, used after a, is spared again
        (100, 100, ("a", "b", "c")),
    ],
)
def test_the_cheapest_go_and_no_more_than_needed(
    budget: int, wanted: int, evicted: tuple[str, ...]
) -> None:
    """Whoever turns out not to be needed stays, the dearest first."""
    assert decide(*_with(scene(budget, A10B20C30), wanted)) == Plan(evicted)


def test_who_is_busy_stays_unless_it_may_be_drained() -> None:
    """And even then it goes after all that are idle, although it was used longest ago."""
    ledger, residents = scene(60, A10B20C30, a={"busy": True})
    assert decide(ledger, 10, residents, may_drain=True) == Plan(("b",))
    assert decide(ledger, 50, residents) == Plan(("b", "c"))
    assert isinstance(decide(ledger, 60, residents), Stays)
    assert decide(ledger, 60, residents, may_drain=True) == Plan(("b", "c", "a"))


def test_who_is_pinned_never_goes() -> None:
    """Whatever may be drained, and whatever the newcomer's priority."""
    ledger, residents = scene(60, A10B20C30, a={"pinned": True, "priority": 9})
    urgent = LoadCandidate("new", own(60), priority=1)
    assert decide(ledger, 10, residents) == Plan(("b",))
    assert isinstance(decide(ledger, urgent, residents, may_drain=True), Stays)


def test_priority_is_worth_more_than_any_rank() -> None:
    """9 goes before 5 before 1, although it was used last."""
    ledger, residents = scene(60, A10B20C30, a={"priority": 1}, c={"priority": 9})
    assert decide(ledger, 10, residents) == Plan(("c",))
    assert decide(ledger, 40, residents) == Plan(("c", "b"))
    assert decide(ledger, 60, residents) == Plan(("c", "b", "a"))


def test_a_young_copy_stays_for_a_newcomer_of_no_higher_priority() -> None:
    """The plan takes the next one."""
    young = {"loaded_at": NOW - 1, "min_residency_s": 2.0}
    ledger, residents = scene(60, A10B20C30, a=young)
    assert decide(ledger, 10, residents) == Plan(("b",))
    assert decide(ledger, LoadCandidate("new", own(10), priority=6), residents) == Plan(("b",))
    assert decide(ledger, LoadCandidate("new", own(10), priority=4), residents) == Plan(("a",))
    grown = [replace(r, min_residency_s=1.0) for r in residents]
    assert decide(ledger, 10, grown) == Plan(("a",))


def test_a_less_important_newcomer_evicts_what_was_not_just_used() -> None:
    """Priority is no pin: what has rested for its minimum residency makes way."""
    used = {"priority": 3, "last_used": NOW - 1, "min_residency_s": 2.0}
    ledger, residents = scene(10, {"a": own(10)}, a=used)
    assert isinstance(decide(ledger, LoadCandidate("new", own(10), priority=4), residents), Stays)
    assert decide(ledger, LoadCandidate("new", own(10), priority=3), residents) == Plan(("a",))
    rested = [replace(residents[0], min_residency_s=1.0)]
    assert decide(ledger, LoadCandidate("new", own(10), priority=4), rested) == Plan(("a",))


def test_a_surplus_copy_goes_first_once_it_has_rested() -> None:
    """Other workers serve the model too, so that nothing need be loaded again."""
    fresh = {"surplus": True, "last_used": NOW - 1}
    ledger, residents = scene(60, A10B20C30, c=fresh)
    assert decide(ledger, 10, residents) == Plan(("a",))
    rested = [*residents[:2], replace(residents[2], last_used=NOW - 5)]
    assert decide(ledger, 10, rested) == Plan(("c",))
    longer = [*residents[:2], replace(rested[2], min_residency_s=6.0, loaded_at=0.0)]
    assert decide(ledger, 10, longer) == Plan(("a",))


def test_among_equals_the_surplus_copy_goes_first() -> None:
    """Even if it was used just now."""
    ledger, _ = scene(20, {"a": own(10), "b": own(10)})
    both = [resident("a", last_used=NOW), resident("b", last_used=NOW, surplus=True)]
    assert decide(ledger, 10, both) == Plan(("b",))


@pytest.mark.parametrize(
    ("most", "wanted", "evicted"),
    [(4, 10, ()), (3, 10, ("a",)), (2, 10, ("a", "b")), (3, 60, ("b",)), (0, 10, ())],
)
def test_the_number_of_models_is_capped(most: int, wanted: int, evicted: tuple[str, ...]) -> None:
    """Whatever their bytes; 0 is no limit."""
    ledger, residents = scene(100, A10B20C30)
    assert decide(ledger, wanted, residents, max_models=most) == Plan(evicted)


def test_a_load_under_way_counts_as_a_model_and_the_newcomer_only_once() -> None:
    """Its own reservation is what the newcomer's footprint replaces."""
    ledger, residents = scene(100, {"a": own(10)}, loading=10)
    assert decide(ledger, 10, residents, max_models=2) == Plan(("a",))
    assert decide(ledger, LoadCandidate("loading", own(90)), residents, max_models=2) == Plan(())
    assert decide(ledger, LoadCandidate("loading", own(91)), residents, max_models=2) == Plan(
        ("a",)
    )


def test_a_group_has_no_more_models_than_it_may() -> None:
    """One of the same group goes, although another is cheaper and all bytes would fit."""
    k = {"group": "k"}
    ledger, residents = scene(100, A10B20C30, b=k, c=k)
    assert decide(ledger, LoadCandidate("new", own(1), 5, "k", 3), residents) == Plan(())
    assert decide(ledger, LoadCandidate("new", own(1), 5, "k", 2), residents) == Plan(("b",))
    assert decide(ledger, LoadCandidate("new", own(1), 5, "k", 1), residents) == Plan(("b", "c"))
    assert decide(ledger, LoadCandidate("new", own(1), 5, "other", 1), residents) == Plan(())


def test_a_model_that_is_loading_counts_in_its_group() -> None:
    """The ledger knows the group of what is reserved."""
    ledger = Ledger(100)
    ledger.reserve("loading", own(1), "k")
    refused = decide(ledger, LoadCandidate("new", own(1), 5, "k", 1), [])
    assert isinstance(refused, Stays)
    assert refused.why == (
        "of group k 1 model is here, at most 1 may be; 1 model is loading or leaving"
    )
    assert decide(ledger, LoadCandidate("loading", own(2), 5, "k", 1), []) == Plan(())


def test_a_variant_needs_only_what_is_its_own() -> None:
    """Its base is here already: nobody goes for it."""
    ledger, residents = scene(100, {"a": shares(10), "b": own(30)})
    assert decide(ledger, LoadCandidate("new", shares(10)), residents) == Plan(())


def test_evicting_a_variant_frees_only_what_is_its_own() -> None:
    """While another variant keeps the base."""
    ledger, residents = scene(100, {"a": shares(10), "b": shares(10), "c": own(30)})
    assert decide(ledger, 50, residents) == Plan(("a", "b"))


def test_a_newcomer_may_keep_the_base_of_whom_it_replaces() -> None:
    """The base counts once, before and after."""
    ledger, residents = scene(70, {"a": shares(20)})
    assert decide(ledger, LoadCandidate("new", shares(20)), residents) == Plan(("a",))


def test_memory_is_freed_for_no_model() -> None:
    """A budget that shrank, or bytes that a batch needs; no place among the models is taken."""
    ledger, residents = scene(100, A10B20C30)
    nobody = LoadCandidate("", own(0), priority=0)
    assert decide(ledger, nobody, residents, max_models=3) == Plan(())
    ledger.budget = 35
    assert decide(ledger, nobody, residents, max_models=3) == Plan(("a", "b"))


def test_a_policy_is_told_what_a_copy_takes() -> None:
    """A blob that two copies share counts half in each."""
    ledger, residents = scene(120, {"a": shares(10), "b": shares(20), "c": own(40)})

    class Largest:
        def rank(self, resident: Resident) -> float:
            return -resident.bytes

    assert [r.ref for r in in_order(ledger, residents, Largest(), NOW)] == ["b", "c", "a"]


def _with(made: tuple[Ledger, list[Resident]], wanted: int) -> tuple[Ledger, int, list[Resident]]:
    return made[0], wanted, made[1]
