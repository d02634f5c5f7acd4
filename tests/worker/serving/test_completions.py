"""Outcomes on their way to Redis: coalesced, repeated until answered, and each settled (I29)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from shared import clock
from shared.channel import Channel
from shared.envelope import Outcome, unpack_error
from shared.errors import InvalidInput, Unavailable
from shared.script_runner import load_source
from shared.scripts import Completion, Scripts
from tests.helpers.cell import Cell
from tests.helpers.factories import REF, placing, work
from tests.helpers.proxy import Proxy
from tests.helpers.wait import wait_until
from worker.serving import outcome_lane
from worker.serving.completions import LARGE_CALL_BYTES, Completions, completion, refusal
from worker.serving.outcome_lane import MAX_BATCH


class Member:
    """The worker's membership, as completions see it."""

    worker = "w1"
    epoch = ""


class Calls:
    """In place of the scripts: it notes each call, and fails in as many as told."""

    def __init__(self, failures: int = 0) -> None:
        self.batches: list[list[Completion]] = []
        self.outlived: list[bool] = []
        self.failures = failures
        self.go = asyncio.Event()
        self.go.set()

    since = 0.0

    def cut(self) -> None:
        """Nothing is under way."""

    async def complete(
        self, worker: str, epoch: str, items: Sequence[Completion], outlived: bool = False
    ) -> list[int]:
        self.batches.append(list(items))
        self.outlived.append(outlived)
        await self.go.wait()
        if self.failures:
            self.failures -= 1
            raise Unavailable("Redis does not answer")
        return [1] * len(items)


def outcome(n: int = 1, size: int = 2) -> Completion:
    return Completion(f"{n}-0".encode(), b"%032d" % n, b"gw1", b"", "succeeded", bytes(size))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_lane, "FIRST_WAIT_S", 0.001)


async def test_outcomes_of_one_turn_go_in_one_call() -> None:
    """In their order; each entry is settled afterwards."""
    calls, settled = Calls(), []
    completions = Completions(calls, Member, settled.extend)
    first, second = [outcome(n) for n in range(3)], [outcome(9)]
    completions.add(first)
    completions.add(second)
    await completions.drain()
    assert calls.batches == [first + second]
    assert settled == [item.entry for item in first + second]
    assert completions.counts == {"succeeded": 4}


async def test_while_a_call_is_under_way_the_rest_gathers() -> None:
    """And goes in bounded calls; nothing is settled before it is committed."""
    calls, settled = Calls(), []
    calls.go.clear()
    completions = Completions(calls, Member, settled.extend)
    completions.add([outcome(0)])
    await wait_until(lambda: calls.batches)
    completions.add(outcome(n) for n in range(1, MAX_BATCH + 5))
    await asyncio.sleep(0.01)
    assert (len(calls.batches), settled) == (1, [])
    calls.go.set()
    await completions.drain()
    assert [len(batch) for batch in calls.batches] == [1, MAX_BATCH, 4]


async def test_large_outcomes_go_in_small_calls() -> None:
    """One call does not carry many megabytes more than the bound."""
    calls = Calls()
    completions = Completions(calls, Member, lambda _: None)
    completions.add(outcome(n, LARGE_CALL_BYTES // 2) for n in range(4))
    await completions.drain()
    assert [len(batch) for batch in calls.batches] == [2, 2]


async def test_a_commit_that_was_not_answered_is_repeated() -> None:
    """As long as it takes, in order."""
    calls, settled = Calls(failures=3), []
    completions = Completions(calls, Member, settled.extend)
    completions.add([outcome(1), outcome(2)])
    await completions.drain()
    assert len(calls.batches) == 4
    assert settled == [b"1-0", b"2-0"]


async def running(cell: Cell, count: int = 1) -> list[Completion]:
    """Outcomes of requests that worker w1 has begun."""
    await cell.gateway()
    Member.epoch = await cell.worker("w1", holds=[REF])
    await cell.place(*[placing() for _ in range(count)])
    entries = await cell.read("w1")
    await cell.begin("w1", Member.epoch, entries)
    return [Completion(e, f["id"], f["reply"], b"", "succeeded", b"42") for e, f in entries]


async def test_a_commit_whose_answer_was_lost_counts_once(cell: Cell) -> None:
    """The second finds nothing: that is a repeat, not somebody else's."""
    (item,) = await running(cell)
    async with Proxy.to(cell.url) as proxy:
        channel = Channel(proxy.url)
        completions = Completions(Scripts(channel, cell.keys), Member, lambda _: None)
        await channel.execute_command("SCRIPT", "LOAD", load_source("complete"))
        proxy.drop_answers = True
        completions.add([item])
        await completions.drain()
        await channel.aclose()
    assert completions.counts == {"repeat": 1}
    assert len(await cell.replies()) == 1


async def test_an_outcome_that_outlived_a_connection_is_for_its_own_entry_only(cell: Cell) -> None:
    """Over the next one Redis may have lost that entry, and given its id to another request."""
    since, calls = clock.monotonic(), Calls()
    for reads, commits, outlived in (
        (since - 1, since - 1, False), (since + 60, since - 1, True), (since - 1, since + 60, True),
        (float("inf"), since - 1, True),
    ):  # fmt: skip
        calls.since = commits
        completions = Completions(calls, Member, lambda _: None, reads_since=lambda r=reads: r)
        completions.add([outcome()])
        await completions.drain()
        assert calls.outlived.pop() == outlived


async def test_what_is_not_ours_any_more_is_settled_and_counted(cell: Cell) -> None:
    """It was cancelled while it ran."""
    first, second = await running(cell, 2)
    stream = cell.keys.work("w1")
    await cell.cancel(first.id.decode(), stream, first.entry.decode())
    settled: list[bytes] = []
    completions = Completions(cell.scripts, Member, settled.extend)
    completions.add([first, second])
    await completions.drain()
    assert completions.counts == {"not ours": 1, "succeeded": 1}
    assert settled == [first.entry, second.entry]


async def test_a_fenced_worker_commits_nothing_and_goes_on(cell: Cell) -> None:
    """Its requests were moved; under its new epoch it commits again."""
    items = await running(cell, 3)
    await cell.client.zadd(cell.keys.workers, {"w1": 0})
    await cell.reap()
    settled: list[bytes] = []
    completions = Completions(cell.scripts, Member, settled.extend)
    completions.add(items)
    await completions.drain()
    assert completions.counts == {"fenced": 3}
    assert len(settled) == 3
    assert await cell.replies() == []
    completions.add(await running(cell))
    await completions.drain()
    assert completions.counts["succeeded"] >= 1


async def test_under_a_new_epoch_nothing_of_the_old_one_is_committed(cell: Cell) -> None:
    """It registered again while its batch ran: the entries were moved, so they are not its own,
    wherever they are now. They are answered when they run again."""
    items = await running(cell, 2)
    Member.epoch = await cell.worker("w1", holds=[REF])
    completions = Completions(cell.scripts, Member, lambda _: None)
    completions.add(items)
    await completions.drain()
    assert completions.counts == {"not ours": 2}
    assert await cell.replies() == []
    assert await cell.client.xlen(cell.keys.work("w1")) == 2


async def test_draining_with_nothing_to_commit_returns() -> None:
    """At once."""
    await Completions(Calls(), Member, lambda _: None).drain()


@pytest.mark.parametrize(
    ("flat", "known"),
    [
        ([b"id", b"a", b"reply", b"gw1", b"flags", b"kp"], (b"a", b"gw1", b"kp")),
        ([b"id", b"a", b"reply"], (b"a", b"", b"")), ([b"x"], (b"", b"", b"")),
        ([], (b"", b"", b"")),
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_read_is_refused_to_its_caller(
    flat: list[bytes], known: tuple[bytes, bytes, bytes]
) -> None:
    """Whatever fields it has."""
    made = refusal(b"1-1", flat, InvalidInput("not the fields"))
    assert (made.id, made.reply, made.flags) == known
    assert (made.entry, made.status) == (b"1-1", "failed")
    assert isinstance(unpack_error(made.outcome), InvalidInput)


@pytest.mark.parametrize("flags", [b"kp", b"kw"])
def test_every_outcome_names_its_model(flags: bytes) -> None:
    """It counts off that model's share of the work stream."""
    request = work()._replace(flags=flags)
    assert completion(request, Outcome([]), None).ref == REF
