"""The rules of eviction on random ledgers, against an oracle that tries every set of victims."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hypothesis import assume, given
from hypothesis import strategies as st

from shared.footprint import Footprint
from tests.helpers.scenes import own, resident
from worker.residency.eviction import Plan, in_order, plan
from worker.residency.eviction_policy import Lru
from worker.residency.ledger import Ledger, Tally
from worker.residency.outcome import Stays
from worker.residency.projection import LoadCandidate, Resident

NOW = 100.0
BLOBS = st.frozensets(st.sampled_from([(c * 64, n) for n, c in enumerate("abcde", 5)]), max_size=3)
FOOTPRINTS = st.builds(Footprint, BLOBS, st.integers(0, 30))
GROUPS = st.sampled_from(["", "", "k"])
PRIORITIES = st.integers(4, 6)


@dataclass
class Scene:
    """What a plan is made of."""

    ledger: Ledger
    wanted: LoadCandidate
    residents: list[Resident]
    max_models: int
    may_drain: bool

    def decide(self, now: float = NOW) -> Plan | Stays:
        """The plan."""
        how = {"max_models": self.max_models, "may_drain": self.may_drain}
        return plan(self.ledger, self.wanted, self.residents, Lru(), now, **how)

    def fits_without(self, gone: Sequence[str]) -> bool:
        """The sums, done anew."""
        left = {r: f for r, f in self.ledger.entries.items() if r not in gone}
        group = [r for r in self.residents if r.group == self.wanted.group and r.ref not in gone]
        capped = self.wanted.group and self.wanted.group_max
        return (
            Tally([*left.values(), self.wanted.footprint]).bytes <= self.ledger.budget
            and not (self.max_models and len(left) + 1 > self.max_models)
            and not (capped and len(group) + 1 > self.wanted.group_max)
        )

    def may_go(self, one: Resident, now: float = NOW) -> bool:
        """The rules of who stays."""
        young = now - one.loaded_at < one.min_residency_s
        just_used = now - one.last_used < one.min_residency_s
        guarded = young if self.wanted.priority >= one.priority else False
        above = just_used if self.wanted.priority > one.priority else False
        return not (one.pinned or (one.busy and not self.may_drain) or guarded or above)

    def enough(self, now: float = NOW) -> Iterator[tuple[str, ...]]:
        """Every set of victims that is allowed and makes the newcomer fit."""
        refs = [r.ref for r in self.residents if self.may_go(r, now)]
        for size in range(len(refs) + 1):
            yield from (s for s in itertools.combinations(refs, size) if self.fits_without(s))


@st.composite
def residents(draw: st.DrawFn, ref: str) -> Resident:
    """Some resident; ages and uses lie around its minimum residency."""
    rarely = st.sampled_from([False, False, False, True])
    return resident(
        ref, last_used=NOW - draw(st.integers(0, 9)), loaded_at=NOW - draw(st.integers(0, 20)),
        min_residency_s=float(draw(st.integers(0, 9))), pinned=draw(rarely), busy=draw(rarely),
        priority=draw(PRIORITIES), group=draw(GROUPS), surplus=draw(rarely),
    )  # fmt: skip


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """A ledger as full as it may be, up to six residents, perhaps a load under way."""
    ledger = Ledger(draw(st.integers(20, 120)))
    ledger.reserve("loading", own(draw(st.integers(0, 20))))
    if draw(st.booleans()):
        ledger.release("loading")
    held = []
    for n, footprint in enumerate(draw(st.lists(FOOTPRINTS, max_size=6))):
        if ledger.used_with(footprint) <= ledger.budget:
            held.append(draw(residents(f"m{n}")))
            ledger.reserve(f"m{n}", footprint)
    wanted = st.builds(
        LoadCandidate, st.just("new"), FOOTPRINTS, PRIORITIES, GROUPS, st.integers(0, 2)
    )  # fmt: skip
    cap = draw(st.sampled_from([0, 0, 1, 2, 4]))
    return Scene(ledger, draw(wanted), held, cap, draw(st.booleans()))


def planned(scene: Scene) -> Plan:
    """The plan, where there is one."""
    decision = scene.decide()
    assume(isinstance(decision, Plan))
    assert isinstance(decision, Plan)
    return decision


@given(scenes())
def test_a_plan_keeps_within_the_budget_and_the_caps(scene: Scene) -> None:
    """Done as it says, the ledger takes the newcomer."""
    victims = planned(scene).evict
    assert scene.fits_without(victims)
    for ref in victims:
        scene.ledger.release(ref)
    scene.ledger.reserve("new", scene.wanted.footprint)
    assert scene.ledger.used <= scene.ledger.budget


@given(scenes())
def test_nobody_goes_who_is_pinned_busy_or_loading(scene: Scene) -> None:
    """Busy ones only where they may be drained."""
    here = {r.ref: r for r in scene.residents}
    for ref in planned(scene).evict:
        assert ref in here, "only residents"
        assert not here[ref].pinned
        assert scene.may_drain or not here[ref].busy


@given(scenes())
def test_a_refusal_means_that_no_set_of_victims_is_enough(scene: Scene) -> None:
    """And the other way round; it says so in words, and is for good only above the budget."""
    decision = scene.decide()
    assert isinstance(decision, Stays) == (next(scene.enough(), None) is None)
    if isinstance(decision, Stays):
        assert decision.why
        assert decision.never == (scene.wanted.footprint.total > scene.ledger.budget)


@given(scenes())
def test_no_victim_could_be_spared(scene: Scene) -> None:
    """Each of them is needed."""
    victims = planned(scene).evict
    for spared in victims:
        assert not scene.fits_without([ref for ref in victims if ref != spared])


@given(scenes())
def test_the_dearest_victim_is_as_cheap_as_can_be_then_the_next(scene: Scene) -> None:
    """Of all sets that are enough; so the least important go, whatever the sizes."""
    victims = planned(scene).evict
    allowed = [r for r in scene.residents if scene.may_go(r)]
    cost = {r.ref: n for n, r in enumerate(in_order(scene.ledger, allowed, Lru(), NOW))}
    dearest_first = [sorted((cost[ref] for ref in s), reverse=True) for s in scene.enough()]
    assert sorted((cost[ref] for ref in victims), reverse=True) == min(dearest_first)


@given(scenes())
def test_the_order_is_idle_then_priority_then_rank(scene: Scene) -> None:
    """With a surplus copy that rests, or is equal otherwise, first."""
    order = in_order(scene.ledger, scene.residents, Lru(), NOW)
    for first, second in itertools.pairwise(order):
        assert first.busy <= second.busy
        if first.busy == second.busy:
            assert first.priority >= second.priority
        if (first.busy, first.priority, first.surplus) == (second.busy, second.priority, False):
            assert first.surplus or first.last_used <= second.last_used


@given(scenes())
def test_nobody_busy_goes_where_idle_ones_are_enough(scene: Scene) -> None:
    """Draining is the last resort."""
    victims = planned(scene).evict
    busy = {r.ref for r in scene.residents if r.busy}
    if any(not busy & set(enough) for enough in scene.enough()):
        assert not busy & set(victims)


@given(scenes())
def test_the_thrash_guard_holds(scene: Scene) -> None:
    """Nobody young goes for a newcomer of no higher priority."""
    for victim in (r for r in scene.residents if r.ref in planned(scene).evict):
        young = NOW - victim.loaded_at < victim.min_residency_s
        assert not (young and scene.wanted.priority >= victim.priority)


@given(scenes())
def test_a_less_important_newcomer_takes_nothing_just_used(scene: Scene) -> None:
    """From a model of higher priority."""
    for victim in (r for r in scene.residents if r.ref in planned(scene).evict):
        just_used = NOW - victim.last_used < victim.min_residency_s
        assert not (just_used and scene.wanted.priority > victim.priority)


@given(scenes())
def test_a_refusal_with_a_time_is_over_then_and_not_before(scene: Scene) -> None:
    """Without one, time alone does not help."""
    decision = scene.decide()
    assume(isinstance(decision, Stays) and not decision.never)
    assert isinstance(decision, Stays)
    if decision.until is None:
        assert next(scene.enough(now=NOW + 1e6), None) is None
        return
    assert decision.until > NOW
    assert isinstance(scene.decide(now=decision.until), Plan)
    assert isinstance(scene.decide(now=decision.until - 0.5), Stays)


@given(scenes(), st.randoms(use_true_random=False))
def test_planning_changes_nothing_and_takes_the_residents_in_any_order(scene, random) -> None:
    """The same scene, the same plan (of copies that do not rank equal)."""
    ranks = [(r.busy, r.priority, r.surplus, r.last_used) for r in scene.residents]
    assume(len(set(ranks)) == len(ranks))
    entries, used = dict(scene.ledger.entries), scene.ledger.used
    first = scene.decide()
    random.shuffle(scene.residents)
    again = scene.decide()
    assert (dict(scene.ledger.entries), scene.ledger.used) == (entries, used)
    assert first == again or (isinstance(first, Stays) and isinstance(again, Stays))
