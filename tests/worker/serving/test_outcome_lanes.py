"""A large outcome on a slow line holds up no other, and is delivered or given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from shared import channel as channel_module
from shared import clock, liveness
from shared.channel import Channel
from shared.envelope import unpack_error
from shared.errors import Expired, Unavailable, Undeliverable
from shared.refusals import NotSent
from shared.scripts import Completion, Scripts
from tests.helpers.cell import Cell
from tests.helpers.factories import REF, placing
from tests.helpers.proxy import Proxy
from tests.helpers.wait import wait_until
from worker.serving import completions as completions_module
from worker.serving import outcome_lane
from worker.serving.completions import Completions

LARGE = 4 << 20


class Member:
    """The worker's membership, as completions see it."""

    worker = "w1"
    epoch = ""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_lane, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(outcome_lane, "LONGEST_WAIT_S", 0.01)


async def begun(cell: Cell, *outcomes: bytes) -> list[Completion]:
    """Outcomes of requests that worker w1 has begun."""
    await cell.gateway()
    Member.epoch = await cell.worker("w1", holds=[REF])
    await cell.place(*[placing() for _ in outcomes])
    entries = await cell.read("w1")
    await cell.begin("w1", Member.epoch, entries)
    return [
        Completion(e, f["id"], f["reply"], b"", "succeeded", outcome, REF)
        for (e, f), outcome in zip(entries, outcomes, strict=True)
    ]


@pytest.fixture
async def slow(cell: Cell) -> AsyncIterator[tuple[Proxy, Channel, Channel]]:
    """A line of 0.2 MB/s, and two channels over it."""
    async with Proxy.to(cell.url) as proxy:
        proxy.bytes_per_s = 2e5
        small, large = Channel(proxy.url), Channel(proxy.url)
        yield proxy, small, large
        await small.aclose()
        await large.aclose()


async def test_a_large_outcome_on_a_slow_line_arrives_and_small_ones_pass_it(
    cell: Cell, slow: tuple[Proxy, Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes much longer than a connection may be silent, over one connection."""
    proxy, small, large = slow
    first, *others = await begun(cell, bytes(LARGE), b"1", b"2")
    settled: list[bytes] = []
    done = Completions(
        Scripts(small, cell.keys), Member, settled.extend, large=Scripts(large, cell.keys)
    )
    done.add([first])
    await wait_until(lambda: proxy.accepted == 1)
    done.add(others)
    await wait_until(lambda: len(settled) == 2)
    assert settled == [item.entry for item in others]
    monkeypatch.setattr(channel_module, "COMMAND_TIMEOUT_S", 0.5)
    proxy.bytes_per_s = 2e6
    await done.drain()
    assert done.counts == {"succeeded": 3}
    assert proxy.accepted == 2
    sizes = sorted(len(reply["outcome"]) for reply in await cell.replies())
    assert sizes == [1, 1, LARGE]


class Paced:
    """The event loop of a connection for which time passes with what its line passes on: so the
    pauses of a busy machine are none of the connection."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy, loop = proxy, asyncio.get_running_loop()
        self.create_future, self.call_later = loop.create_future, loop.call_later

    def time(self) -> float:
        return self._proxy.passed / self._proxy.bytes_per_s


async def test_an_upload_in_pieces_is_no_silence(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing comes back until it is complete, ten timeouts later; a line that is dead is found."""
    monkeypatch.setattr(channel_module, "COMMAND_TIMEOUT_S", 0.2)
    monkeypatch.setattr(liveness, "HIDDEN_BYTES", 1 << 20)
    async with Proxy.to(cell.url) as proxy:
        proxy.bytes_per_s = 16e6
        channel = Channel(proxy.url)
        await channel.execute_command("PING")
        link, size = channel._link, 32 << 20
        monkeypatch.setattr(link, "_loop", Paced(proxy))
        assert await channel.execute_command("SET", f"{cell.keys.prefix}:test", bytes(size))
        assert proxy.accepted == 1
        await channel.execute_command("DEL", f"{cell.keys.prefix}:test")
        proxy.swallow()
        monkeypatch.setattr(link, "_loop", asyncio.get_running_loop())
        async with asyncio.timeout(30):
            with pytest.raises(Exception, match="no answer in time"):
                await channel.execute_command("PING")
        await channel.aclose()


class Calls:
    """In place of the scripts: it notes what is committed, and does as `does` says."""

    def __init__(self) -> None:
        self.committed: list[Completion] = []
        self.tried: list[list[bytes]] = []
        self.cuts = 0
        self.broken: set[bytes] = set()  # entries whose calls are lost
        self.stuck: set[bytes] = set()  # entries whose calls never end
        self.away: Exception | None = None

    def cut(self) -> None:
        self.cuts += 1

    since = 0.0

    async def complete(
        self, worker: str, epoch: str, items: Sequence[Completion], outlived: bool = False
    ) -> list[int]:
        entries = [item.entry for item in items]
        self.tried.append(entries)
        large = any(len(item.outcome) >= completions_module.LARGE_FROM_BYTES for item in items)
        if self.away:
            raise Unavailable("Redis does not answer") from self.away
        if large and self.stuck & set(entries):
            await asyncio.Event().wait()
        if large and self.broken & set(entries):
            raise Unavailable("Redis refused: ERR") from ValueError("Protocol error")
        self.committed += items
        return [1] * len(items)


def outcome(n: int, size: int = 2) -> Completion:
    return Completion(f"{n}-0".encode(), b"%032d" % n, b"gw1", b"", "succeeded", bytes(size), REF)


def ends(calls: Calls) -> dict[bytes, Completion]:
    return {item.entry: item for item in calls.committed}


async def test_an_outcome_that_redis_never_takes_is_given_up_with_a_clear_failure() -> None:
    """After some tries, in which the others pass it."""
    calls, settled = Calls(), []
    calls.broken = {b"1-0"}
    done = Completions(calls, Member, settled.extend)
    done.add([outcome(1, 100_000), outcome(2, 100_000), outcome(3, 100_000)])
    await done.drain()
    assert [ends(calls)[e].status for e in (b"1-0", b"2-0", b"3-0")] == [
        "failed", "succeeded", "succeeded",
    ]  # fmt: skip
    error = unpack_error(ends(calls)[b"1-0"].outcome)
    assert isinstance(error, Undeliverable) and "100000 bytes" in error.message
    assert sum(b"1-0" in entries for entries in calls.tried) == outcome_lane.MOST_TRIES + 1
    assert sorted(settled) == [b"1-0", b"2-0", b"3-0"]


async def test_an_upload_ends_with_the_deadline_of_its_request() -> None:
    """The line is free for the next one then, and the caller has a clear answer."""
    calls, settled = Calls(), []
    calls.stuck = {b"1-0"}
    done = Completions(calls, Member, settled.extend)
    done._put(outcome(1, 100_000), clock.monotonic() + 0.05, 1.0)
    await wait_until(lambda: calls.tried)
    done.add([outcome(2, 100_000)])
    await done.drain()
    assert calls.cuts == 1
    assert {e: c.status for e, c in ends(calls).items()} == {b"1-0": "expired", b"2-0": "succeeded"}
    assert isinstance(unpack_error(ends(calls)[b"1-0"].outcome), Expired)


@pytest.mark.parametrize("away", [NotSent("away"), ConnectionError("lost"), TimeoutError("dark")])
async def test_while_redis_is_away_nothing_is_given_up(away: Exception) -> None:
    """Large or small, however often it is tried, whether a line is refused or swallows all."""
    calls, settled = Calls(), []
    calls.away = away
    done = Completions(calls, Member, settled.extend)
    done.add([outcome(1, 100_000), outcome(2)])
    await wait_until(lambda: len(calls.tried) > 4 * outcome_lane.MOST_TRIES)
    calls.away = None
    await done.drain()
    assert {c.status for c in calls.committed} == {"succeeded"}
    assert sorted(settled) == [b"1-0", b"2-0"]


async def test_what_waits_for_the_line_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker behind a stuck line does not keep every outcome in memory."""
    monkeypatch.setattr(completions_module, "MAX_LARGE_BYTES", 250_000)
    calls = Calls()
    calls.stuck = {b"1-0"}
    done = Completions(calls, Member, lambda _: None)
    done._put(outcome(1, 100_000), clock.monotonic() + 0.2, 1.0)
    done.add([outcome(2, 100_000), outcome(3, 100_000)])
    await wait_until(lambda: b"3-0" in ends(calls))
    assert isinstance(unpack_error(ends(calls)[b"3-0"].outcome), Undeliverable)
    await done.drain()
    assert ends(calls)[b"2-0"].status == "succeeded"
