"""The self-tests that are due run, and a sick worker leaves (I40)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared import statuses
from shared.errors import Forbidden, LoadFailed, WarmrouteError
from tests.worker.health.conftest import Clock
from worker.health.calls import IN_A_ROW
from worker.health.failure_row import LASTING_S, MANY, Unexplained
from worker.health.health import DISK, DISK_SICK_S, Health
from worker.health.monitor import HealthMonitor


class Bench:
    """A monitor over made-up tests. `reasons`: what they find; `answers`: of warm-up calls."""

    def __init__(self) -> None:
        self.health = Health()
        self.reasons: dict[str, str] = {}
        self.answers: dict[str, bool | None] = {}
        self.held = ["a:1:aa", "b:1:bb"]
        self.elsewhere: list[str] = []
        self.compared: list[Unexplained] = []
        self.tried: list[str] = []
        self.rounds = 0
        self.left: list[str] = []
        self.events: list[str] = []
        self.monitor = HealthMonitor(
            self.health,
            self,
            self.try_again,
            self.compare,
            lambda: self.held,
            self.left.append,
            self,
        )  # type: ignore[arg-type]

    async def run(self) -> dict[str, str]:
        self.rounds += 1
        return self.reasons

    async def try_again(self, ref: str) -> bool | None:
        self.tried.append(ref)
        return self.answers.get(ref)

    async def compare(self, failed: Unexplained) -> list[str]:
        self.compared.append(failed)
        return self.elsewhere

    def emit(self, kind: str, *_: Any, reason: str) -> None:
        self.events.append(f"{kind} {reason}")

    def fail(self, *refs: str) -> None:
        for ref in refs * IN_A_ROW:
            self.health.calls.failed(ref)


@pytest.fixture
def bench(time: Clock) -> Bench:
    return Bench()


async def test_without_failures_nothing_is_tested(bench: Bench) -> None:
    """A healthy worker pays nothing."""
    assert await bench.monitor.run_loads() == await bench.monitor.run_models() == 0
    assert (bench.rounds, bench.tried, bench.events) == (0, [], [])


async def test_failed_loads_are_followed_by_tests_further_apart_each_time(
    bench: Bench, time: Clock
) -> None:
    """The first at once."""
    bench.reasons = {DISK: "full"}
    bench.health.gate.failed("full")
    rounds = []
    for _ in range(20):
        await bench.monitor.run_loads()
        rounds.append(bench.rounds)
        time.sleep(1)
    assert rounds[:8] == [1, 2, 2, 3, 3, 3, 3, 4]
    assert bench.events == ["health suspect: full"]


async def test_once_the_tests_pass_and_a_load_succeeds_the_worker_is_healthy(
    bench: Bench, time: Clock
) -> None:
    """And its next failure is tested at once again."""
    bench.reasons = {DISK: "full"}
    bench.health.gate.failed("full")
    await bench.monitor.run_loads()
    bench.reasons = {DISK: ""}
    time.sleep(1)
    await bench.monitor.run_loads()
    assert bench.health.gate.is_open(0)
    bench.health.gate.succeeded()
    await bench.monitor.run_loads()
    assert bench.events == ["health suspect: full", "health healthy"]
    bench.health.gate.failed("full")
    assert await bench.monitor.run_loads() == 1


async def test_two_models_that_fail_their_warm_up_calls_make_the_worker_leave(
    bench: Bench,
) -> None:
    """Once."""
    bench.answers = {"a:1:aa": False, "b:1:bb": False}
    bench.fail("a:1:aa", "b:1:bb")
    await bench.monitor.run_models()
    await bench.monitor.run_models()
    (reason,) = bench.left
    assert bench.tried == ["a:1:aa", "b:1:bb"] and "of a, b" in reason


async def test_bad_requests_for_two_models_do_not(bench: Bench) -> None:
    """However many: a flood of them must not end a worker."""
    bench.answers = {"a:1:aa": True, "b:1:bb": True}
    for _ in range(5):
        bench.fail("a:1:aa", "b:1:bb")
        await bench.monitor.run_models()
    assert (bench.left, bench.events) == ([], [])
    assert bench.health.state.health == statuses.HEALTHY


async def test_what_was_evicted_is_not_tried(bench: Bench) -> None:
    """Nor held against the worker."""
    bench.fail("a:1:aa")
    bench.held = []
    await bench.monitor.run_models()
    assert bench.tried == []


async def test_a_disk_that_fails_for_long_makes_the_worker_leave_and_a_store_does_not(
    bench: Bench, time: Clock
) -> None:
    """With the reason."""
    bench.reasons = {DISK: "", "store": "the store does not answer"}
    for reasons in ({"store": "the store does not answer"}, {"store": "", DISK: "full"}):
        bench.reasons |= reasons
        for _ in range(100):
            bench.health.gate.failed("a load failed")
            await bench.monitor.run_loads()
            assert not bench.left or time.now > DISK_SICK_S
            time.sleep(DISK_SICK_S / 50)
    assert bench.left == ["full"]


LOADS = (Forbidden("no"), LoadFailed("no such operator"))


async def fail_for_long(bench: Bench, time: Clock, error: WarmrouteError | None) -> None:
    """Loads with this error, else calls, of two models in turn; each self-test passes."""
    bench.reasons = {DISK: "", "store": ""}
    for number in range(MANY * 3):
        if error is None:
            bench.fail(bench.held[number % 2])
            await bench.monitor.run_models()
        else:
            bench.health.load_failed(bench.held[number % 2], error)
            await bench.monitor.run_loads()
        await bench.monitor.run_comparison()
        time.sleep(LASTING_S / MANY / 2)


@pytest.mark.parametrize("error", [*LOADS, None], ids=repr)
async def test_a_worker_that_fails_all_that_others_can_do_leaves(
    bench: Bench, time: Clock, error: WarmrouteError | None
) -> None:
    """Although every self-test passes; it is suspect before, and asks only when that has lasted."""
    bench.elsewhere = ["a:1:aa", "b:1:bb"]
    await fail_for_long(bench, time, error)
    kind = "calls" if error is None else "loads"
    assert bench.compared[0].age_s >= LASTING_S and bench.compared[0].loads is (kind == "loads")
    (reason,) = set(bench.left)
    assert f"failed {kind}, and other workers serve a, b" in reason
    said = [" ".join(event.split()[:2]).rstrip(":") for event in bench.events]
    assert (said[0], said[-1], said.count(said[-1])) == ("health suspect", "health sick", 1)


@pytest.mark.parametrize("elsewhere", [[], ["a:1:aa"]], ids=["nobody", "one model"])
@pytest.mark.parametrize("error", [*LOADS, None], ids=repr)
async def test_what_others_cannot_do_either_ends_no_worker(
    bench: Bench, time: Clock, error: WarmrouteError | None, elsewhere: list[str]
) -> None:
    """The models are broken, or the store is: a cell keeps its workers. One proves nothing."""
    bench.elsewhere = elsewhere
    await fail_for_long(bench, time, error)
    assert bench.compared and bench.left == []
    assert bench.health.unexplained and bench.events[0].startswith("health suspect")


async def test_who_serves_what_is_warm_stays_however_its_loads_fail(
    bench: Bench, time: Clock
) -> None:
    """Nor is a worker compared whose store fails its test, or which could load something."""
    bench.elsewhere = ["a:1:aa", "b:1:bb"]
    health = bench.health
    excuses: list[Callable[[], object]] = [
        lambda: health.calls.succeeded("c:1:cc"),
        lambda: health.tested({"store": "it does not answer"}),
        health.load_succeeded,
    ]
    for number in range(MANY * 9):
        bench.health.load_failed(bench.held[number % 2], LOADS[0])
        if number % MANY == MANY - 2:
            excuses[number // MANY % 3]()
        health.tested({"store": ""})
        await bench.monitor.run_comparison()
        time.sleep(LASTING_S / MANY)
    assert bench.compared == bench.left == []


async def test_a_comparison_of_before_is_not_used_again(bench: Bench, time: Clock) -> None:
    """The worker could do it meanwhile."""
    await fail_for_long(bench, time, LOADS[0])
    bench.elsewhere = ["a:1:aa", "b:1:bb"]
    bench.health.compared(bench.elsewhere)
    bench.health.load_succeeded()
    await bench.monitor.run_comparison()
    bench.elsewhere = []
    await fail_for_long(bench, time, LOADS[0])
    assert bench.left == []
