"""One call of each script about copies and sessions, measured in the state of the stage."""

from __future__ import annotations

from deploy.bench.scale.fleet import COPY_BYTES, Member, ref_of
from deploy.bench.scale.stage import LEASE_MS, WIDE, Stage

MODELS_OF_SESSION = 50


async def announce(stage: Stage, state: str) -> None:
    """A worker claims a cold model for which 64 requests wait, and loads it."""
    member, ref, token = await _ordered(stage, waiting=64)
    with stage.scene(state) as s:
        await s.claim_load(member.name, member.epoch, ref, token, LEASE_MS)
        await s.renew_load(member.name, ref, token, LEASE_MS)
        await s.announce(member.name, member.epoch, ref, token, f"device {COPY_BYTES}")


async def affinity(stage: Stage, state: str) -> None:
    """The load belongs to a key of which another worker has models."""
    member, ref, token = await _claimed(stage)
    key = stage.new_name("key")
    await stage.client.sadd(stage.keys.affinity(key), *stage.refs(20))
    with stage.scene(state) as s:
        await s.route_by_affinity(member.name, ref, token, key, "prefer")


async def refuse_load(stage: Stage, state: str) -> None:
    """The model is too large for all of this worker's budget."""
    member, ref, token = await _claimed(stage)
    with stage.scene(state) as s:
        await s.refuse_load(member.name, ref, token, too_large=True)


async def fail_load(stage: Stage, state: str) -> None:
    """The worker's disk is full: another one is asked."""
    member, ref, token = await _claimed(stage)
    with stage.scene(state) as s:
        await s.fail_load(member.name, ref, token, b"unavailable full", 5000)


async def fail_model(stage: Stage, state: str) -> None:
    """The model is damaged: 128 callers are answered."""
    member, ref, token = await _claimed(stage, waiting=128)
    with stage.scene(state) as s:
        await s.fail_load(member.name, ref, token, b"corrupt no", 5000, scope="model")


async def reload(stage: Stage, state: str) -> None:
    """A restarted process loads what it held."""
    member = stage.member()
    with stage.scene(state) as s:
        await s.reload(member.name, member.epoch, ref_of(stage.new_name()), LEASE_MS)


async def retire(stage: Stage, state: str) -> None:
    """A copy leaves to make space."""
    member = stage.member()
    with stage.scene(state) as s:
        await s.record_stats(member.name, member.epoch, member.refs[0], {"rows": "independent"})
        await s.retire(member.name, member.epoch, member.refs[0], "disk", "spare", 0.01)
    await stage.scripts.announce(
        member.name, member.epoch, member.refs[0], "", f"device {COPY_BYTES}"
    )


async def order_copy(stage: Stage, state: str) -> None:
    """One more copy of a model that has two, then none."""
    (ref,) = stage.refs(1)
    with stage.scene(state) as s:
        await s.order_copy(ref, 3)
        await s.set_policy(ref, {"priority": "2"})
        await s.order_unload(ref)


async def sessions(stage: Stage, state: str) -> None:
    """A session of 50 models that workers hold."""
    name = stage.new_name("session")
    models = dict.fromkeys(stage.refs(MODELS_OF_SESSION), 1)
    with stage.scene(state) as s:
        await s.open_session(name, LEASE_MS, 100_000, models.items())
        await s.keep_session(name, LEASE_MS)
        await s.close_session(name)


COPY_CALLS = (
    announce, affinity, refuse_load, fail_load, fail_model, reload, retire, order_copy, sessions,
)  # fmt: skip


async def _ordered(stage: Stage, waiting: int) -> tuple[Member, str, str]:
    """A worker, a cold model for which requests wait, and the token of its order."""
    ref = ref_of(stage.new_name("cold"))
    await stage.scripts.place(stage.asking([ref] * waiting), WIDE)
    token = await stage.client.hget(stage.keys.load(ref), "token")
    return stage.member(), ref, token.decode()


async def _claimed(stage: Stage, waiting: int = 1) -> tuple[Member, str, str]:
    member, ref, token = await _ordered(stage, waiting)
    await stage.scripts.claim_load(member.name, member.epoch, ref, token, LEASE_MS)
    return member, ref, token
