"""The ledger under random loads, corrections, evictions and budgets, against sums done anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.footprint import Footprint
from worker.residency.ledger import Ledger, Tally

BLOBS = st.frozensets(st.sampled_from([(c * 64, n) for n, c in enumerate("abcde", 5)]), max_size=3)
FOOTPRINTS = st.builds(Footprint, BLOBS, st.integers(0, 30))
REFS = st.sampled_from("pqrst")
STEPS = st.one_of(
    st.tuples(st.just("reserve"), REFS, FOOTPRINTS),
    st.tuples(st.just("correct"), REFS, FOOTPRINTS),
    st.tuples(st.just("release"), REFS, st.none()),
    st.tuples(st.just("budget"), st.none(), st.integers(0, 120)),
)


def together(footprints: list[Footprint]) -> int:
    """Bytes, by hand."""
    blobs = {blob for footprint in footprints for blob in footprint.blobs}
    return sum(f.own for f in footprints) + sum(size for _, size in blobs)


def take(ledger: Ledger, step: tuple) -> None:
    """One step of a worker that asks before it reserves."""
    kind, ref, what = step
    if kind == "reserve" and ledger.used_with(what, [ref]) <= ledger.budget:
        ledger.reserve(ref, what)
    elif kind == "correct" and ledger.get(ref) is not None:
        ledger.correct(ref, what)
    elif kind == "release":
        ledger.release(ref)
    elif kind == "budget":
        ledger.budget = what


@given(st.lists(STEPS, max_size=40))
def test_the_budget_holds_at_every_step(steps: list[tuple]) -> None:
    """Reserved + resident <= budget; over a budget that shrank it only ever gets less."""
    ledger = Ledger(100)
    for step in steps:
        over = max(0, ledger.used - ledger.budget)
        take(ledger, step)
        assert ledger.used == together(list(ledger.entries.values()))
        if step[0] != "budget":
            assert max(0, ledger.used - ledger.budget) <= over


@given(st.lists(STEPS, max_size=20), FOOTPRINTS, st.sets(REFS))
def test_what_would_be_used_is_what_is_used_then(
    steps: list[tuple], wanted: Footprint, without: set[str]
) -> None:
    """Asking changes nothing, and answers by the same sums."""
    ledger = Ledger(100)
    for step in steps:
        take(ledger, step)
    before = ledger.used
    left = [f for ref, f in ledger.entries.items() if ref not in without]
    assert ledger.used_with(wanted, without) == together([*left, wanted])
    assert ledger.used == before


@given(st.lists(FOOTPRINTS, max_size=6))
def test_shares_are_what_is_used_or_a_few_bytes_less(held: list[Footprint]) -> None:
    """Less where a blob cannot be split evenly."""
    ledger = Ledger(10_000)
    for n, footprint in enumerate(held):
        ledger.reserve(str(n), footprint)
    shares = ledger.shares()
    assert sum(shares.values()) <= ledger.used <= sum(shares.values()) + 5 * len(held)
    assert all(0 <= share <= held[int(ref)].total for ref, share in shares.items())


@given(st.lists(FOOTPRINTS, max_size=8), st.randoms(use_true_random=False))
def test_a_tally_comes_back_to_nothing_in_any_order(held: list[Footprint], random) -> None:
    """Each step counts as a sum of those who are left; a copy of it goes its own way."""
    tally = Tally(held)
    kept, left = tally.copy(), list(held)
    random.shuffle(left)
    while left:
        tally.remove(left.pop())
        assert tally.bytes == together(left)
    assert kept.bytes == together(held)


@given(FOOTPRINTS, st.integers(0, 80))
def test_a_promised_share_is_kept_whatever_is_shared(footprint: Footprint, least: int) -> None:
    """Never less than the copy takes, never less than it was promised, and not more than needed."""
    promised = footprint.at_least(least)
    assert promised.total == max(footprint.total, least)
    both = together([promised, promised])
    assert footprint.total >= least or both == 2 * least
