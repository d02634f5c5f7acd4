"""Who is worth least: what a policy learns of uses, loads and evictions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError
from tests.helpers.scenes import resident
from worker.residency import eviction_policy
from worker.residency.eviction_policy import HALF_LIFE, POLICIES, GreedyDual, Lru, policy_of


def greedy(**models: tuple[int, float, int]) -> GreedyDual:
    """A policy that has seen models: uses, seconds to load, bytes."""
    policy = GreedyDual()
    for ref, (uses, cost_s, size) in models.items():
        policy.loaded(ref, cost_s, size, 0.0)
        use(policy, ref, uses)
    return policy


def use(policy: GreedyDual, ref: str, times: int = 1) -> None:
    """So many batches."""
    for _ in range(times):
        policy.used(ref, 0.0, 1)


def order(policy: GreedyDual | Lru, *refs: str) -> list[str]:
    """The first goes first."""
    return sorted(refs, key=lambda ref: policy.rank(resident(ref)))


def test_policies_have_names() -> None:
    """Each worker has one of its own."""
    assert isinstance(policy_of("greedy_dual"), GreedyDual)
    assert isinstance(policy_of("lru"), Lru)
    assert policy_of("lru") is not policy_of("lru")


def test_an_unknown_name_is_an_error_that_names_the_choices() -> None:
    """And the variable."""
    with pytest.raises(ConfigError, match="WARMROUTE_EVICTION: 'fifo', want one of greedy_dual"):
        policy_of("fifo")


def test_the_least_recently_used_goes_first() -> None:
    """Whatever else happened."""
    policy = Lru()
    policy.loaded("a", 9.0, 1, 0.0)
    policy.used("a", 1.0, 100)
    policy.evicted("a")
    old, new = resident("a", last_used=1.0), resident("b", last_used=2.0)
    assert policy.rank(old) < policy.rank(new)


def test_what_is_used_more_often_stays() -> None:
    """All else equal."""
    policy = greedy(often=(9, 1.0, 10), seldom=(2, 1.0, 10), never=(0, 1.0, 10))
    assert order(policy, "often", "seldom", "never") == ["never", "seldom", "often"]


def test_what_takes_longer_to_load_stays() -> None:
    """By the same use and size; a tenth of a second is forgiven, a second is not."""
    policy = greedy(slow=(1, 5.0, 10), quick=(1, 0.1, 10))
    assert order(policy, "slow", "quick") == ["quick", "slow"]


def test_loads_of_small_files_say_nothing_against_what_comes_after_large_ones() -> None:
    """Each load has a part that no byte causes, so the pace per byte is not one for all sizes."""
    policy = greedy(**{f"tiny{n}": (1, 0.03, 10_000) for n in range(12)})
    for n in range(6):
        policy.loaded(f"large{n}", 0.075, 3_000_000, 0.0)
        use(policy, f"large{n}", 6 if n else 2)
    last_first = [f"large{n}" for n in reversed(range(6))]
    assert order(policy, *last_first)[0] == "large0"


def test_what_takes_fewer_bytes_stays() -> None:
    """By the same use and load time."""
    policy = greedy(small=(1, 1.0, 10), large=(1, 1.0, 1000))
    assert order(policy, "small", "large") == ["large", "small"]


def test_bytes_that_others_share_do_not_count_against_a_copy() -> None:
    """The plan knows how many share them now; the policy only what the copy came with."""
    policy = greedy(variant=(1, 1.0, 1000), alone=(1, 1.0, 100))
    shared = policy.rank(resident("variant", bytes=10))
    assert policy.rank(resident("variant")) < policy.rank(resident("alone")) < shared


def test_a_batch_is_one_use() -> None:
    """A thousand requests that came together would have shared one load."""
    policy = greedy(herd=(0, 1.0, 10), regular=(2, 1.0, 10))
    policy.used("herd", 0.0, 1000)
    assert order(policy, "herd", "regular") == ["herd", "regular"]


def test_old_uses_count_half_after_so_many_evictions() -> None:
    """Per resident; what did not have to share its place with anybody does not age."""
    policy = greedy(old=(8, 1.0, 10), other=(1, 1.0, 10))
    before = policy.rank(resident("old"))
    for n in range(round(HALF_LIFE * 3)):
        policy.loaded(f"passer-by {n}", 1.0, 10, 0.0)
        policy.evicted(f"passer-by {n}")
    assert policy.rank(resident("old")) == pytest.approx(before / 2)
    use(policy, "old")
    assert policy.rank(resident("old")) == pytest.approx(before * 5 / 8)


def test_a_model_that_returns_is_no_stranger() -> None:
    """Its uses are remembered: it is not the first to go again."""
    policy = greedy(a=(9, 1.0, 10), b=(2, 1.0, 10))
    policy.evicted("a")
    policy.loaded("a", 1.0, 10, 0.0)
    assert order(policy, "a", "b") == ["b", "a"]


def test_what_left_is_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who left first is forgotten first."""
    monkeypatch.setattr(eviction_policy, "REMEMBERED", 2)
    policy = greedy(a=(9, 1.0, 10), b=(9, 1.0, 10), c=(9, 1.0, 10), d=(1, 1.0, 10))
    for ref in "abc":
        policy.evicted(ref)
    for ref in "abc":
        policy.loaded(ref, 1.0, 10, 0.0)
    assert order(policy, "a", "b", "c", "d")[:2] == ["a", "d"]


def test_a_scan_does_not_flush_what_is_hot() -> None:
    """A pass over a hundred models, each used once, evicts only one another."""
    policy = greedy(**{f"hot{n}": (20, 1.0, 10) for n in range(9)})
    here = [f"hot{n}" for n in range(9)]
    for n in range(100):
        if len(here) == 10:
            here.remove(victim := order(policy, *here)[0])
            policy.evicted(victim)
        policy.loaded(f"once{n}", 1.0, 10, 0.0)
        use(policy, f"once{n}")
        here.append(f"once{n}")
        use(policy, f"hot{n % 9}")
    assert sorted(here)[:9] == [f"hot{n}" for n in range(9)]


def test_one_slow_load_does_not_outweigh_use() -> None:
    """It may have run beside others; a model that is always slow is found out."""
    policy = greedy(unlucky=(1, 1.0, 10), used=(3, 1.0, 10))
    policy.loaded("unlucky", 20.0, 10, 0.0)
    assert order(policy, "unlucky", "used") == ["unlucky", "used"]
    for _ in range(5):
        policy.loaded("unlucky", 20.0, 10, 0.0)
    assert order(policy, "unlucky", "used") == ["used", "unlucky"]


def test_one_slow_load_does_not_change_what_is_usual() -> None:
    """A model that comes after it is not taken to be as slow."""
    policy = greedy(**{f"m{n}": (3, 1.0, 10) for n in range(5)}, slow=(0, 1000.0, 10))
    policy.loaded("next", 1.0, 10, 0.0)
    use(policy, "next")
    assert order(policy, "m0", "next") == ["next", "m0"]


def test_who_is_unknown_ranks_lowest() -> None:
    """No use is known of it. Its eviction, too, is no error."""
    policy = greedy(a=(1, 1.0, 10))
    assert policy.rank(resident("unknown", reload_s=99.0)) == 0.0
    policy.evicted("unknown")
    policy.used("early", 0.0, 1)  # before anybody said that it is loaded
    assert policy.rank(resident("early", reload_s=2.0, bytes=4)) == pytest.approx(0.5)


EVENTS = st.tuples(
    st.sampled_from(["loaded", "used", "evicted"]), st.sampled_from("abcd"),
    st.floats(0.0, 1e6), st.integers(0, 2**40),
)  # fmt: skip


@given(st.sampled_from(sorted(POLICIES)), st.lists(EVENTS, max_size=60))
def test_ranks_are_finite_whatever_is_told(name: str, events: list[tuple]) -> None:
    """In any order, with any figures; the memory keeps its bound."""
    policy = policy_of(name)
    for kind, ref, seconds, size in events:
        if kind == "loaded":
            policy.loaded(ref, seconds, size, 0.0)
        elif kind == "used":
            policy.used(ref, 0.0, 1)
        else:
            policy.evicted(ref)
    for ref in "abcd":
        assert 0.0 <= policy.rank(resident(ref)) < float("inf")


@given(st.lists(EVENTS, max_size=40), st.sampled_from("abcd"))
def test_a_use_never_lowers_a_rank(events: list[tuple], ref: str) -> None:
    """And raises nobody else's."""
    policy = GreedyDual()
    for kind, other, seconds, size in [*events, ("loaded", ref, 1.0, 10)]:
        if kind == "loaded":
            policy.loaded(other, seconds, size, 0.0)
        elif kind == "used":
            policy.used(other, 0.0, 1)
        else:
            policy.evicted(other)
    before = {r: policy.rank(resident(r)) for r in "abcd"}
    policy.used(ref, 0.0, 1)
    after = {r: policy.rank(resident(r)) for r in "abcd"}
    assert after.pop(ref) > before.pop(ref)
    assert after == before
