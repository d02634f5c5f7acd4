"""Whether a gateway is ready, and every reason why not."""

from __future__ import annotations

import pytest

from router.fleet import health as module
from router.fleet import probes
from router.fleet.health import Health
from router.fleet.probes import LOOKS, Probes
from shared import clock
from shared.channel import Channel
from shared.service import Loop, Supervisor
from tests.helpers.cell import Cell
from tests.helpers.proxy import Proxy
from tests.helpers.wait import wait_until


async def test_a_redis_that_says_nothing_does_not_keep_a_probe_waiting(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load balancer must hear soon that this gateway is no use."""
    async with Proxy.to(cell.url) as proxy:
        channel = Channel(proxy.url)
        health = Health(channel, cell.keys, Supervisor([]))
        assert (await health.document())["ready"]
        monkeypatch.setattr(module, "PING_S", 0.1)
        proxy.swallow()
        assert (await health.document())["error"] == "Redis did not answer in time"
        await wait_until(lambda: proxy.lost)
        await channel.aclose()


async def test_a_healthy_gateway_has_no_reason_not_to_be_ready(cell: Cell) -> None:
    """Redis answers, loops run, nobody stops it."""
    supervisor = Supervisor([])
    health = Health(cell.channel, cell.keys, supervisor)
    assert (await health.document())["ready"]


async def test_each_reason_not_to_be_ready_is_told(cell: Cell) -> None:
    """A loop that fails, a stop under way, a Redis that does not answer."""
    loop = Loop("replies", lambda: None)
    loop.failures = 3
    away = Channel("redis://127.0.0.1:1/0")
    health = Health(away, cell.keys, Supervisor([loop]))
    health.stop(0.0)
    loop.error = "Redis refused: MAXCLIENTS, it has as many connections as it takes"
    reasons = (await health.document())["error"].split("; ")
    assert reasons == [
        f"loop replies fails: {loop.error}", "stopping", "Redis does not answer"
    ]  # fmt: skip
    await away.aclose()


async def test_too_few_workers_are_a_reason_by_setting(cell: Cell) -> None:
    """Their number, and the one that is needed."""
    await cell.worker("w1")
    health = Health(cell.channel, cell.keys, Supervisor([]), min_workers=2)
    document = await health.document()
    assert document["error"] == "1 workers are live, WARMROUTE_MIN_WORKERS is 2"
    await cell.worker("w2")
    health = Health(cell.channel, cell.keys, Supervisor([]), min_workers=2)
    assert (await health.document())["ready"]


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock; the test moves its only entry."""
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    return now


def checks(found: Probes, time: list[float], every_s: float, number: int, peer: str) -> None:
    for _ in range(number):
        time[0] += every_s
        found.note(peer)


def test_whoever_checks_regularly_gets_the_time_to_notice(time: list[float]) -> None:
    """A few checks of the slowest; never longer than allowed."""
    found = Probes()
    checks(found, time, 0.5, 9, "10.0.0.1")
    assert found.needed_s(60) == pytest.approx(LOOKS * 0.5)
    checks(found, time, 1.0, 2, "10.0.0.2")
    assert found.needed_s(60) == pytest.approx(LOOKS)
    assert found.needed_s(2) == 2


def test_a_second_program_at_the_address_of_a_balancer_shortens_nothing(time: list[float]) -> None:
    """Whether it says what it is or not, and checks just after the balancer or all the time."""
    for program, quick in (("", 1), ("curl", 1), ("curl", 15)):
        found = Probes()
        for _ in range(5):
            checks(found, time, 0.1, 1, "10.0.0.1")
            for _ in range(quick):
                time[0] += 0.1
                found.note("10.0.0.1", program)
            time[0] += 1.9 - 0.1 * quick
        assert found.needed_s(60) >= LOOKS * 1.8


def test_a_long_pause_between_checks_is_forgotten(time: list[float]) -> None:
    """The rhythm of the last few counts."""
    found = Probes()
    checks(found, time, 9.0, 2, "10.0.0.1")
    checks(found, time, 0.5, 6, "10.0.0.1")
    assert found.needed_s(60) == pytest.approx(LOOKS * 0.5)


def test_without_checks_there_is_nothing_to_wait_for(time: list[float]) -> None:
    """None at all, a single one, or those of a start long ago."""
    found = Probes()
    assert found.needed_s(60) == 0
    found.note("10.0.0.1")
    assert found.needed_s(60) == 0
    checks(found, time, 0.05, 20, "10.0.0.1")
    time[0] += 30
    assert found.needed_s(60) == 0


def test_the_peers_that_are_remembered_are_bounded(time: list[float]) -> None:
    """The last ones."""
    found = Probes()
    for n in range(10 * probes.MAX_PEERS):
        checks(found, time, 0.01, 2, f"peer {n}")
    assert len(found._last) == probes.MAX_PEERS
