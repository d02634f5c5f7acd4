"""A failing plan made short, by Hypothesis's own shrinker.

Hypothesis can only shrink what it has drawn. So a plan is written as the choices that would draw
it, and given to its engine to begin with: that is not part of its public interface, and its version
is pinned. What it finds fails in the same way: a shorter run with another fault is another fault.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture.data import ConjectureData
from hypothesis.internal.conjecture.engine import ConjectureRunner
from hypothesis.internal.escalation import InterestingOrigin

from tests.model.run import Plan, Step

Choice = bool | int
LARGEST = (1 << 63) - 1
_SETTINGS = settings(
    max_examples=1, database=None, phases=[Phase.generate, Phase.shrink], deadline=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


_ORIGIN = InterestingOrigin.from_exception(AssertionError())


def shrunk(plan: Plan, fails: Callable[[Plan], bool], rules: list[str]) -> Plan:
    """The shortest plan found that fails too; `plan` itself if it does not fail again."""
    best = plan

    def attempt(data: ConjectureData) -> None:
        nonlocal best
        tried = _drawn(data, plan, rules)
        if not tried.steps or not fails(tried):
            data.mark_invalid()
        best = tried if _size(tried) <= _size(best) else best
        data.mark_interesting(_ORIGIN)

    runner = ConjectureRunner(attempt, settings=_SETTINGS, random=Random(0), ignore_limits=True)
    runner.cached_test_function(_choices(plan, rules))
    if runner.interesting_test_cases:
        runner.shrink_interesting_test_cases()
    return best


def _size(plan: Plan) -> tuple[int, int]:
    return len(plan.steps), sum(step.number for step in plan.steps)


def _choices(plan: Plan, rules: list[str]) -> tuple[Choice, ...]:
    out: list[Choice] = []
    for step in plan.steps:
        out += [True, rules.index(step.rule), step.number]
    return (*out, False)


def _drawn(data: ConjectureData, plan: Plan, rules: list[str]) -> Plan:
    steps = []
    while True:
        data.start_span(1)
        if not data.draw_boolean():
            data.stop_span()
            break
        rule = rules[data.draw_integer(0, len(rules) - 1)]
        steps.append(Step(rule, data.draw_integer(0, LARGEST)))
        data.stop_span()
    return plan._replace(steps=tuple(steps))
