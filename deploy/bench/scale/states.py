"""The states in which a cell costs most: busy devices, cold models, dead workers, many sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from deploy.bench.scale.fleet import Member, ref_of, report_of
from deploy.bench.scale.stage import LEASE_MS, MAX_ATTEMPTS, WIDE, Stage
from shared.errors import Unavailable
from shared.script_runner import CHUNK

BATCH = 64  # requests that a gateway places in one call at most
MODELS = 50  # of a session
SESSION_MS = 3_600_000
CALM, FIRST, AGAIN, COLD = "calm", "all busy, first look", "all busy, looked", "cold"


def in_batch(state: str) -> str:
    """The state of a call with a gateway's full batch, of as many models."""
    return f"{state}, {BATCH} models"


async def calm(stage: Stage) -> None:
    """A batch of warm requests."""
    with stage.scene(in_batch(CALM)) as s:
        await s.place(stage.asking(stage.refs(BATCH)), WIDE)


async def busy(stage: Stage) -> None:
    """Each model is looked at once, and again before a quarter of a second is over."""
    for count, name in ((1, str), (BATCH, in_batch)):
        refs = stage.refs(count)
        await stage.client.delete(*(stage.keys.no_capacity(ref) for ref in refs))
        for state in (FIRST, AGAIN):
            with stage.scene(name(state)) as s:
                await s.place(stage.asking(refs), WIDE)


async def cold(stage: Stage) -> None:
    """A load is ordered for one model, and for each of a batch."""
    for count, name in ((1, str), (BATCH, in_batch)):
        refs = [ref_of(stage.new_name("cold")) for _ in range(count)]
        with stage.scene(name(COLD)) as s:
            await s.place(stage.asking(refs), WIDE)


async def parked(stage: Stage) -> None:
    """A sweep, when many cold models have an order; and when the orders were lost."""
    refs = [ref_of(stage.new_name("cold")) for _ in range(stage.many)]
    await _place_all(stage, refs)
    with stage.scene(f"{stage.many} models wait") as s:
        await s.sweep()
    await stage.client.delete(*(stage.keys.load(ref) for ref in refs))
    with stage.scene(f"{stage.many} models wait, orders lost") as s:
        await s.sweep()


async def dead_workers(stage: Stage) -> None:
    """A worker with many copies that it alone has, and a request for each, goes in every way."""
    state = f"{stage.many} copies, {stage.many} queued"
    member = await _loaded_worker(stage)
    await stage.client.zadd(stage.keys.workers, {member.name: 1})
    with stage.scene(state) as s:
        left = 1
        while left > 0:
            row = await s.reap(MAX_ATTEMPTS)
            left = row[1] if row else 0
    member = await _loaded_worker(stage)
    with stage.scene(state) as s:
        await s.leave(member.name, member.epoch, MAX_ATTEMPTS)
    member = await _loaded_worker(stage)
    with stage.scene(state) as s:
        await s.fence_worker(member.name, member.epoch, 1, "was killed", MAX_ATTEMPTS)
    member = await _loaded_worker(stage)
    with stage.scene(state) as s:
        fields = {"incarnation": "one", "parent": "one", **report_of([])}
        epoch = await s.register(member.name, LEASE_MS, MAX_ATTEMPTS, fields)
    await stage.scripts.leave(member.name, epoch, MAX_ATTEMPTS)


async def reports(stage: Stage) -> None:
    """A heartbeat that writes a report of many copies."""
    refs = [ref_of(stage.new_name("held")) for _ in range(stage.many)]
    member = await stage.fleet.add(stage.new_name("new"), refs)
    with stage.scene(f"{stage.many} copies") as s:
        await s.heartbeat(
            member.name, member.epoch, member.incarnation, LEASE_MS, len(refs), report_of(refs)
        )
    await stage.scripts.leave(member.name, member.epoch, MAX_ATTEMPTS)


async def open_sessions(stage: Stage) -> None:
    """As `open_session` leaves them, of models that no worker holds."""
    keys, number = stage.keys, 0
    for at in range(stage.many):
        name, expires = f"many-{at}", 1 << 45
        refs = [ref_of(f"in-session-{number + n}") for n in range(MODELS)]
        number += MODELS
        pipe = stage.client.pipeline(transaction=False)
        text = " ".join(f"{ref} 1" for ref in refs)
        pipe.hset(keys.session(name), mapping={"models": text, "ttl": SESSION_MS})
        pipe.zadd(keys.sessions, {name: expires})
        pipe.sadd(keys.min_copies, *refs)
        for ref in refs:
            pipe.sadd(keys.pinned(ref), name)
        await pipe.execute()


async def among_sessions(stage: Stage) -> None:
    """One more of them, and what asks about sessions."""
    state = f"{stage.many} sessions of {MODELS}"
    row = ("open_session", state)
    with stage.scene(state) as s:
        await s.place(stage.asking(stage.refs(1)), WIDE)
        await s.reconcile()
        await s.keep_session("many-0", SESSION_MS)
        if row in stage.far:
            return
        name = stage.new_name("session")
        models = dict.fromkeys(stage.refs(MODELS), 1)
        try:
            await s.open_session(name, SESSION_MS, 100_000, models.items())
            await s.close_session(name)
        except Unavailable:
            stage.far.add(row)


STATES: Sequence[Callable[[Stage], Awaitable[None]]] = (calm, cold, parked, dead_workers, reports)


async def _place_all(stage: Stage, refs: Sequence[str]) -> None:
    for at in range(0, len(refs), CHUNK):
        await stage.scripts.place(stage.asking(refs[at : at + CHUNK]), WIDE)


async def _loaded_worker(stage: Stage) -> Member:
    refs = [ref_of(stage.new_name("alone")) for _ in range(stage.many)]
    member = await stage.fleet.add(stage.new_name("new"), refs)
    await _place_all(stage, refs)
    return member
