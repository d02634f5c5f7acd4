"""One call of each script about requests and processes, measured in the state of the stage."""

from __future__ import annotations

from typing import Any

from deploy.bench.scale.fleet import Member, report_of
from deploy.bench.scale.stage import LEASE_MS, MAX_ATTEMPTS, WIDE, Stage
from shared.scripts import Cancel, Completion, Placing, Waiting

BATCH = 64  # requests that a gateway places in one call at most
KEPT = "kp"


async def place(stage: Stage, state: str) -> None:
    """One request of a waiting caller."""
    with stage.scene(state) as s:
        await s.place(stage.asking(stage.refs(1)), WIDE)


async def cancel(stage: Stage, state: str) -> None:
    """A submitted request."""
    (item,) = await _submit(stage, 1)
    with stage.scene(state) as s:
        await s.cancel([Cancel(item.id)])


async def subscribe(stage: Stage, state: str) -> None:
    """A long poll."""
    (item,) = await _submit(stage, 1)
    with stage.scene(state) as s:
        await s.subscribe(item.id, "gw0")


async def replay(stage: Stage, state: str) -> None:
    """A dead letter is placed again."""
    letter = {
        "kind": "request", "id": "a" * 32, "model": stage.refs(1)[0], "worker": "w0",
        "attempts": 3, "body": b"x" * 100,
    }  # fmt: skip
    entry = (await stage.client.xadd(stage.keys.dead_letters, letter)).decode()
    with stage.scene(state) as s:
        await s.replay(entry, stage.asking([""])[0].id, 60_000, WIDE)


async def begin_and_complete(stage: Stage, state: str) -> None:
    """A full batch of one model on one worker."""
    member, entries = await _read_batch(stage, BATCH)
    rows = [(e, f[b"id"], int(f[b"deadline"]), f[b"flags"]) for e, f in entries]
    with stage.scene(state) as s:
        await s.begin(member.name, member.epoch, 1, rows)
        await s.complete(member.name, member.epoch, _completions(entries))


async def drop_kept(stage: Stage, state: str) -> None:
    """As many outcomes as one call may drop are over the budget."""
    member, entries = await _read_batch(stage, 128, reply="", flags=KEPT)
    await stage.scripts.complete(member.name, member.epoch, _completions(entries))
    with stage.scene(state) as s:
        await s.drop_kept(1)


async def record_outcomes(stage: Stage, state: str) -> None:
    """The answers of a second: 1,000."""
    ends: list[str | bytes] = []
    for item in stage.asking(stage.refs(1000)):
        ends += [item.id, f"succeeded w0 0 {item.ref} "]
    with stage.scene(state) as s:
        await s.record_outcomes(100_000, ends)


async def hand_over(stage: Stage, state: str) -> None:
    """A gateway stops that has 128 waiting callers."""
    gateway = stage.new_name("gw")
    await stage.scripts.gateway_beat(gateway, LEASE_MS)
    items = stage.asking(stage.refs(128), reply=gateway)
    placed = await stage.scripts.place(items, WIDE)
    waiting = [
        Waiting(item.id, item.ref, at.deadline_ms, stage.keys.work(at.detail), at.entry)
        for item, at in zip(items, placed, strict=True)
    ]
    with stage.scene(state) as s:
        await s.hand_over(gateway, waiting)


async def list_letters(stage: Stage, state: str) -> None:
    """A page of 100."""
    pipe = stage.client.pipeline(transaction=False)
    for _ in range(100):
        pipe.xadd(stage.keys.dead_letters, {"kind": "request", "body": b"x" * 100}, maxlen=1000)
    await pipe.execute()
    with stage.scene(state) as s:
        await s.list_letters("+", 100)


async def publish_reply(stage: Stage, state: str) -> None:
    """An answer for a producer."""
    await stage.scripts.gateway_beat("gw0", LEASE_MS)
    entry = (await stage.client.xadd(stage.keys.outbox, {"id": "f" * 32})).decode()
    await stage.client.xreadgroup("g", "gw0", {stage.keys.outbox: ">"})
    with stage.scene(state) as s:
        await s.publish_reply("outbox", entry, "answers", 60_000, True, ["status", "failed"])


async def gateways(stage: Stage, state: str) -> None:
    """One of ten gateways keeps house, and nothing is to be done."""
    for number in range(10):
        await stage.scripts.gateway_beat(f"gw{number}", LEASE_MS)
    with stage.scene(state) as s:
        await s.gateway_beat("gw0", LEASE_MS)
        await s.keep_clock(LEASE_MS)
        await s.sweep()
        await s.reap(MAX_ATTEMPTS)
        await s.reconcile()


async def worker(stage: Stage, state: str) -> None:
    """A worker registers, reports, and leaves."""
    name, report = stage.new_name("new"), report_of([])
    fields = {"incarnation": "one", "parent": "one", **report}
    with stage.scene(state) as s:
        epoch = await s.register(name, LEASE_MS, MAX_ATTEMPTS, fields)
        await s.heartbeat(name, epoch, "one", LEASE_MS, 0, report)
        await s.renew_lease(name, epoch, LEASE_MS, 0)
        await s.leave(name, epoch, MAX_ATTEMPTS)


async def fence_worker(stage: Stage, state: str) -> None:
    """A device process dies at its start."""
    member = await stage.fleet.add(stage.new_name("new"), stage.refs(10))
    with stage.scene(state) as s:
        await s.fence_worker(member.name, member.epoch, 1, "was killed", MAX_ATTEMPTS)


REQUEST_CALLS = (
    place, cancel, subscribe, replay, begin_and_complete, drop_kept, record_outcomes, hand_over,
    list_letters, publish_reply, gateways, worker, fence_worker,
)  # fmt: skip


async def _submit(stage: Stage, count: int) -> list[Placing]:
    items = stage.asking(stage.refs(count), reply="", flags=KEPT)
    await stage.scripts.place(items, WIDE)
    return items


async def _read_batch(stage: Stage, count: int, **more: Any) -> tuple[Member, list[Any]]:
    """A new worker that alone holds a model has read so many requests for it."""
    ref = f"{stage.new_name('busy')}:1:0123456789ab"
    member = await stage.fleet.add(stage.new_name("new"), [ref])
    await stage.scripts.place(stage.asking([ref] * count, **more), WIDE)
    stream = stage.keys.work(member.name)
    ((_, entries),) = await stage.client.xreadgroup(
        member.epoch, member.name, {stream: ">"}, count=count
    )
    return member, entries


def _completions(entries: list[Any]) -> list[Completion]:
    return [
        Completion(e, f[b"id"], f[b"reply"], f[b"flags"], "succeeded", b"y" * 100, f[b"model"])
        for e, f in entries
    ]
