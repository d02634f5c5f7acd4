"""F48: Redis ran a script and its answer is lost on the wire, once for each script.

Whoever called it asks again. The second time changes nothing: no request is there twice, no
outcome is published again, none is forgotten; and the answer says that it was a repeat.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shared.channel import Channel
from shared.errors import Unavailable
from shared.housekeeping_scripts import KeptClock
from shared.script_runner import load_source
from shared.scripts import Cancel, Completion, GatewayBeat, Scripts, Waiting
from tests.contract.sources import ROOT
from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, WIDE, Cell
from tests.helpers.cell_state import state
from tests.helpers.factories import OTHER_REF, REF, kept, placing, request_id
from tests.helpers.proxy import Proxy
from tests.lua.copy_stories import COPY_STORIES, Call, Story, begun, loading
from tests.lua.fleet import NOW_MS, worker
from tests.lua.worker_stories import WORKER_STORIES

CHANGES_NOTHING = {"list_letters"}  # it reads
CHANGES_AGAIN = {"register"}  # each time a new epoch begins: its caller knows the last one only


async def place(cell: Cell) -> Story:
    await cell.worker(holds=[REF])
    item = kept(key="key", fingerprint="same")
    return lambda s: s.place(
        [item], WIDE
    ), lambda said: [(p.status, p.detail) for p in said] == [("joined", item.id)]


async def replay(cell: Cell) -> Story:
    letter = {"kind": "request", "id": "a" * 32, "model": REF, "worker": "w1", "attempts": 3}
    entry = (await cell.client.xadd(cell.keys.dead_letters, {**letter, "body": "b"})).decode()
    new = request_id()
    return lambda s: s.replay(entry, new, 60_000, WIDE), lambda said: said.status == "unknown"


async def cancel(cell: Cell) -> Story:
    item = kept()
    await cell.place(item)
    return lambda s: s.cancel([Cancel(item.id)]), ["cancelled"]


async def subscribe(cell: Cell) -> Story:
    item = kept()
    await cell.place(item)
    return lambda s: s.subscribe(item.id, "gw1"), lambda said: said["status"] == b"parked"


async def publish_reply(cell: Cell) -> Story:
    await cell.gateway()
    entry = (await cell.client.xadd(cell.keys.outbox, {"id": "f" * 32})).decode()
    await cell.client.xreadgroup("g", "gw1", {cell.keys.outbox: ">"})
    fields = ["status", "failed"]
    return lambda s: s.publish_reply("outbox", entry, "answers", 60_000, True, fields), ("late", "")


async def gateway_beat(cell: Cell) -> Story:
    await cell.gateway("dead", lease_ms=5_000)
    await cell.client.xadd(cell.keys.ingress, {"model": "m", "body": "b"})
    await cell.client.xreadgroup("g", "dead", {cell.keys.ingress: ">"})
    cell.scripts.now_ms = now = NOW_MS + 5_001
    return lambda s: s.gateway_beat("gw1", LEASE_MS), GatewayBeat(0, True, now, True, True)


async def keep_clock(cell: Cell) -> Story:
    """A leap is taken off once."""
    await cell.attend()
    cell.scripts.now_ms = NOW_MS + 600_000
    mark = (await cell.scripts.keep_clock(LEASE_MS)).mark
    followed = KeptClock(NOW_MS + 600_000, "")
    return lambda s: s.keep_clock(LEASE_MS, mark, 600_000), followed


async def hand_over(cell: Cell) -> Story:
    await cell.gateway()
    await cell.worker(holds=[REF])
    item = placing()
    (placed,) = await cell.place(item)
    row = Waiting(item.id, REF, placed.deadline_ms, cell.keys.work("w1"), placed.entry)
    return lambda s: s.hand_over("gw1", [row]), [1]


async def reap(cell: Cell) -> Story:
    await begun(cell, lease_ms=5)
    cell.scripts.now_ms = NOW_MS + 10
    await cell.attend()
    return lambda s: s.reap(MAX_ATTEMPTS), None


async def sweep(cell: Cell) -> Story:
    await cell.place(kept(timeout_ms=5), kept())
    await cell.client.delete(cell.keys.load(REF))
    cell.scripts.now_ms = NOW_MS + 10
    return lambda s: s.sweep(), (0, 0, 0)


async def begin(cell: Cell) -> Story:
    epoch = await cell.worker(holds=[REF])
    await cell.place(kept())
    rows = [(e, f["id"], int(f["deadline"]), f["flags"]) for e, f in await cell.read()]
    return lambda s: s.begin("w1", epoch, 1, rows), lambda said: said[1] == [b"run"]


async def complete(cell: Cell) -> Story:
    epoch, entries = await begun(cell)
    rows = [Completion(e, f["id"], b"gw1", f["flags"], "succeeded", b"42") for e, f in entries]
    return lambda s: s.complete("w1", epoch, rows), [0]


async def drop_kept(cell: Cell) -> Story:
    """What was over the budget is gone; the second time there is nothing to drop."""
    epoch, entries = await begun(cell)
    await cell.complete("w1", epoch, entries)
    return lambda s: s.drop_kept(1), (0, 0)


async def list_letters(cell: Cell) -> Story:
    entry = await cell.client.xadd(cell.keys.dead_letters, {"kind": "request", "body": "four"})
    return lambda s: s.list_letters("+", 2), [(entry, 4, [b"kind", b"request"])]


async def record_outcomes(cell: Cell) -> Story:
    ends = [request_id(), f"succeeded w1 0 {REF} "]
    return lambda s: s.record_outcomes(100, ends), True


STORIES: dict[str, Callable[[Cell], Awaitable[Story]]] = {
    story.__name__: story
    for story in (
        place, replay, cancel, subscribe, publish_reply, gateway_beat, keep_clock, hand_over, reap,
        sweep, begin, complete, drop_kept, list_letters, record_outcomes, *WORKER_STORIES,
        *COPY_STORIES,
    )
}  # fmt: skip


def test_every_script_is_here() -> None:
    """A new one needs a story too."""
    assert set(STORIES) == {Path(file).stem for file in (ROOT / "shared/lua").glob("*.lua")}


@pytest.mark.parametrize("name", STORIES)
async def test_a_script_whose_answer_was_lost_is_repeated_without_harm(
    cell: Cell, name: str
) -> None:
    """The state after the second time is that after the first."""
    cell.scripts.now_ms = NOW_MS
    call, expected = await STORIES[name](cell)
    await cell.client.script_load(load_source(name))
    before = await state(cell)
    await lose_the_answer(cell, call)
    once = await state(cell)
    said = await call(cell.scripts)
    twice = await state(cell)

    assert (once == before) == (name in CHANGES_NOTHING), "the script has not run"
    assert expected(said) if callable(expected) else said == expected, said
    if name in CHANGES_AGAIN:
        once, twice = _without_epochs(once), _without_epochs(twice)
    assert twice == once


async def test_a_session_whose_answer_was_lost_expires(cell: Cell) -> None:
    """Its client asked again under another id, or went away."""
    cell.scripts.now_ms = NOW_MS
    await worker(cell, budget_bytes=100, holds=[REF], lease_ms=LEASE_MS * 10)
    await lose_the_answer(cell, lambda s: s.open_session("s1", LEASE_MS, 1, [(REF, 100)]))
    cell.scripts.now_ms += LEASE_MS
    assert await cell.scripts.reconcile() == (1, 0)
    ended = (cell.keys.sessions, cell.keys.session("s1"), cell.keys.min_copies)
    assert await cell.exists(*ended) == []


async def test_a_worker_that_missed_a_hand_on_can_announce_nothing(cell: Cell) -> None:
    """It loads what another loads too; its token is not the one of the lease any more."""
    epoch, token = await loading(cell)
    other = await cell.worker("w2", holds=[OTHER_REF])
    await cell.client.sadd(cell.keys.affinity("team"), OTHER_REF)
    await lose_the_answer(cell, lambda s: s.route_by_affinity("w1", REF, token, "team", "prefer"))
    assert not await cell.scripts.renew_load("w1", REF, token, LEASE_MS)
    assert await cell.scripts.announce("w1", epoch, REF, token, "device 1") == -1
    token = await cell.claim("w2", other)
    assert await cell.scripts.announce("w2", other, REF, token, "device 1") == 0


async def test_a_worker_that_missed_a_retirement_announces_the_copy_again(cell: Cell) -> None:
    """It is told that it must stay by now; its next beat finds that the map lacks it."""
    epoch = await cell.worker("w1", holds=[REF])
    second = await cell.worker("w2", holds=[REF])
    await cell.scripts.order_copy(REF, 1)
    await lose_the_answer(cell, lambda s: s.retire("w1", epoch, REF, "", "evict"))
    await cell.scripts.fence_worker("w2", second, 0, "was killed", MAX_ATTEMPTS)
    assert await cell.scripts.retire("w1", epoch, REF, "", "evict") == "needed"
    assert (await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 1, {})).answer == "resync"


async def lose_the_answer(cell: Cell, call: Call) -> None:
    """Call the script over a connection that ends when its answer comes."""
    async with Proxy.to(cell.url) as proxy:
        channel = Channel(proxy.url)
        far = Scripts(channel, cell.keys)
        far.now_ms = cell.scripts.now_ms
        await channel.execute_command("PING")
        proxy.drop_answers = True
        with pytest.raises(Unavailable):
            await call(far)
        await channel.aclose()


def _without_epochs(state: dict[str, Any]) -> dict[str, Any]:
    names = (":epoch", ":worker:w1", ":work:w1")
    return {key: value for key, value in state.items() if not key.endswith(names)}
