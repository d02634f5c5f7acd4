"""What to evict for a newcomer: least recently used first, no more than needed, or nothing."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.eviction import Plan, Refusal, Resident, plan
from worker.ledger import Footprint, Ledger

BASE = ("b" * 64, 50)


def own(size: int) -> Footprint:
    return Footprint(frozenset(), size)


def shares(size: int) -> Footprint:
    """A variant of the base model, with some bytes of its own."""
    return Footprint(frozenset([BASE]), size)


def scene(
    budget: int, residents: dict[str, Footprint], busy: str = "", loading: int = 0
) -> tuple[Ledger, list[Resident]]:
    """A ledger and its residents, the first one used longest ago."""
    ledger = Ledger(budget)
    if loading:
        ledger.reserve("loading", own(loading))
    for ref, footprint in residents.items():
        ledger.reserve(ref, footprint)
    return ledger, [Resident(r, float(n), r in busy) for n, r in enumerate(residents)]


A10B20C30 = {"a": own(10), "b": own(20), "c": own(30)}


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
def test_the_least_recently_used_go_and_no_more_than_needed(
    budget: int, wanted: int, evicted: tuple[str, ...]
) -> None:
    """Whoever turns out not to be needed stays, the most recently used first."""
    ledger, residents = scene(budget, A10B20C30)
    decision = plan(ledger, own(wanted), residents)
    assert isinstance(decision, Plan)
    assert set(decision.evict) == set(evicted)


def test_who_is_busy_goes_last() -> None:
    """Even if it was used longest ago; it goes if there is no other way."""
    ledger, residents = scene(60, A10B20C30, busy="a")
    assert plan(ledger, own(10), residents) == Plan(("b",))
    assert plan(ledger, own(60), residents) == Plan(("b", "c", "a"))


def test_what_can_never_fit_is_refused_for_good() -> None:
    """Nothing is evicted for it."""
    ledger, residents = scene(60, A10B20C30)
    assert plan(ledger, own(61), residents) == Refusal(never=True)


def test_what_does_not_fit_beside_a_load_under_way_must_wait() -> None:
    """The load's bytes cannot be had now; nothing is evicted in vain."""
    ledger, residents = scene(100, {"a": own(10)}, loading=50)
    assert plan(ledger, own(60), residents) == Refusal(never=False)
    assert plan(ledger, own(50), residents) == Plan(("a",))


def test_a_variant_needs_only_what_is_its_own() -> None:
    """Its base is here already: nobody goes for it."""
    ledger, residents = scene(100, {"a": shares(10), "b": own(30)})
    assert plan(ledger, shares(10), residents) == Plan(())


def test_evicting_a_variant_frees_only_what_is_its_own() -> None:
    """While another variant keeps the base."""
    ledger, residents = scene(100, {"a": shares(10), "b": shares(10), "c": own(30)})
    decision = plan(ledger, own(50), residents)
    assert isinstance(decision, Plan)
    assert ledger.used_with(own(50), decision.evict) <= 100
    assert set(decision.evict) == {"a", "b"}


def test_a_newcomer_may_keep_the_base_of_whom_it_replaces() -> None:
    """The base counts once, before and after."""
    ledger, residents = scene(70, {"a": shares(20)})
    assert plan(ledger, shares(20), residents) == Plan(("a",))


BLOBS = st.frozensets(st.sampled_from([(c * 64, n) for n, c in enumerate("abcde", 5)]), max_size=3)
FOOTPRINTS = st.builds(Footprint, BLOBS, st.integers(0, 30))


@given(
    st.integers(1, 120), st.lists(FOOTPRINTS, max_size=6), FOOTPRINTS,
    st.lists(st.booleans(), min_size=6, max_size=6), st.integers(0, 40),
)  # fmt: skip
def test_a_plan_is_enough_needed_and_made_only_if_it_can_work(
    budget: int, held: list[Footprint], wanted: Footprint, busy: list[bool], loading: int
) -> None:
    """Never over the budget; no victim could be spared; a refusal means that no plan exists."""
    ledger = Ledger(budget)
    if loading <= budget:
        ledger.reserve("loading", own(loading))
    residents = []
    for n, footprint in enumerate(held):
        if ledger.used_with(footprint) <= budget:
            ledger.reserve(f"m{n}", footprint)
            residents.append(Resident(f"m{n}", float(n), busy[n]))
    before = ledger.used
    decision = plan(ledger, wanted, residents)
    assert ledger.used == before, "planning changes nothing"
    refs = [resident.ref for resident in residents]
    possible = [
        some
        for size in range(len(refs) + 1)
        for some in itertools.combinations(refs, size)
        if ledger.used_with(wanted, some) <= budget
    ]
    if isinstance(decision, Refusal):
        assert possible == []
        assert decision.never == (wanted.total > budget)
        return
    assert ledger.used_with(wanted, decision.evict) <= budget
    assert set(decision.evict) <= set(refs)
    for spared in decision.evict:
        rest = [ref for ref in decision.evict if ref != spared]
        assert ledger.used_with(wanted, rest) > budget, "one more than needed"


@given(st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=6), st.data())
def test_whoever_stays_although_older_would_not_have_helped(
    copies: list[tuple[int, bool]], data: st.DataObject
) -> None:
    """Of equal copies the least recently used idle ones go."""
    size = copies[0][0]
    ledger = Ledger(size * len(copies))
    residents = []
    for n, (_, busy) in enumerate(copies):
        ledger.reserve(f"m{n}", own(size))
        residents.append(Resident(f"m{n}", float(n), busy))
    count = data.draw(st.integers(1, len(copies)))
    order = sorted(residents, key=lambda r: (r.busy, r.last_used))
    expected = tuple(r.ref for r in order[:count])
    assert plan(ledger, own(size * count), residents) == Plan(expected)
