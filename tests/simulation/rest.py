"""What must be so when nothing moves any more, read from Redis itself."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from shared.keys import LASTING
from tests.judge.left import left_over
from tests.judge.outcomes import TERMINAL
from tests.simulation.clients import Clients, Told
from tests.simulation.fleet import Fleet
from tests.simulation.server import SimRedis
from tests.simulation.world import World

# What may be there with nobody running: a member or an entry of each has an end of its own.
LEFT_BY_ALL = (
    "epoch",
    "clock",
    "ingress",
    "outbox",
    "failures",
    "dead_letters",
    "gateways",
    "rq:queues",
    "events",
    "kept:outcomes",
    "kept:letters",
    "kept_bytes:outcomes",
    "kept_bytes:letters",
)


TOLD_S = 2.0  # until the outbox is empty


def _keys(server: SimRedis) -> list[str]:
    return sorted(key.decode() for key in server.raw("KEYS", "*"))


def _names(world: World) -> list[str]:
    prefix = world.keys.prefix + ":"
    return [k.removeprefix(prefix) for k in _keys(world.server) if k.startswith(prefix)]


def loading(world: World) -> bool:
    """Whether a load is ordered or under way."""
    return any(name.startswith("load:") for name in _names(world))


async def end_lasting(world: World, fleet: Fleet) -> None:
    """Requests whose deadline is minutes away are cancelled, so that the rest can be judged."""
    lasting = [r for r in world.history.entries.values() if world.history.waits.may_last(r)]
    for request in lasting:
        await fleet.ask("DELETE", f"/v2/requests/{request.id}")
    if lasting:
        await asyncio.sleep(TOLD_S)


def at_rest(world: World, fleet: Fleet, clients: Clients) -> None:
    """Everybody lives, nobody asks: queues are empty, the map is right."""
    world.server.run(["PING"])
    _queues(world)
    _residency(world, fleet)
    _traced(world)
    for stream, asked in clients.streamed.items():
        _answered(world, stream, asked)
    for request_id in clients.accepted:
        if request_id not in world.history.requests:
            world.history.violated(f"I3: {request_id} was accepted, and never was anywhere")


def flush(world: World) -> None:
    """FLUSHALL, of which readers of 7.0 hear at once and readers of 6.2 only in the end."""
    world.trace.note("** FLUSHALL")
    world.server.raw("FLUSHALL")
    world.history.forget_all()
    world.versions.forget_all()
    world.faults["FLUSHALL"] += 1
    if world.dice.random() < 0.5:
        world.network.wake(*(key for command in world.network.waiting for key in command.keys))


def rebuilt(world: World, fleet: Fleet) -> None:
    """The map is back, without a restart of anybody."""
    world.server.run(["PING"])
    _queues(world)
    _residency(world, fleet)


def calm(world: World, clients: Clients) -> None:
    """Nothing went wrong: what callers were told is what became of their requests."""
    for request_id in clients.told_late:
        request = world.history.requests.get(request_id)
        in_time = (
            request and world.history.waits.late_ms(request, 0) <= 0
        )  # else it ran on beyond it
        if request and in_time and request.ended not in ("expired", "cancelled"):
            world.history.violated(
                f"I11: {request_id} has {request.ended}, its caller heard expired"
            )


def after_all(world: World) -> None:
    """Nobody lives: what is left has a lifetime, or is on a short list."""
    world.server.run(["PING"])
    mortal = {key.decode() for key in world.server.raw("ZRANGE", "sim:expiry", 0, -1)}
    prefix = world.keys.prefix + ":"
    left = [n for n in _names(world) if prefix + n not in mortal and n not in LEFT_BY_ALL]
    if left:
        world.history.violated(f"I25: left behind: {left}")
    unlisted = [n for n in left if not any(n.startswith(known) for known in LASTING)]
    if unlisted:
        world.history.violated(f"I25: without a lifetime: {unlisted}")


def _queues(world: World) -> None:
    for text in left_over(_Look(world.server), world.keys, loads=False):
        world.history.violated(f"I5: {text}")


def _traced(world: World) -> None:
    """S9: what has failed can be found by its id in a log, with its cause."""
    for request in world.history.requests.values():
        if request.ref.partition(":")[0] in world.log_limited:
            continue  # in a flood of failures a model has so many lines a second, and their number
        if request.ended in ("failed", "expired") and request.id not in world.logged:
            world.history.violated(f"S9: no log tells why {request.id} has {request.ended}")


class _Look:
    """The judge's look into a Redis of virtual time."""

    def __init__(self, server: SimRedis) -> None:
        self._server = server

    def names(self) -> list[str]:
        return _keys(self._server)

    def length(self, stream: str) -> int:
        return int(self._server.raw("XLEN", stream))

    def pending(self, stream: str) -> int:
        groups = self._server.raw("XINFO", "GROUPS", stream)
        return sum(int(dict(zip(g[::2], g[1::2], strict=True))[b"pending"]) for g in groups)


def _residency(world: World, fleet: Fleet) -> None:
    """I20: the map is what live workers hold."""
    server, keys = world.server, world.keys
    held: dict[str, set[str]] = {}
    for worker in fleet.workers:
        device = worker.device
        refs = world.history.loads.held(device) if device else set()
        held[worker.name] = refs
        said = {ref.decode() for ref in server.raw("SMEMBERS", keys.holds(worker.name))}
        if said != refs:
            world.history.violated(f"I20: {worker.name} holds {refs}, its set says {said}")
    for name in _names(world):
        kind, _, ref = name.partition(":")
        if kind == "holders":
            said = {w.decode() for w in server.raw("HKEYS", keys.holders(ref))}
            true = {worker for worker, refs in held.items() if ref in refs}
            if said != true:
                world.history.violated(f"I20: {ref} is held by {true}, the map says {said}")


def _answered(world: World, stream: str, asked: Told) -> None:
    """One answer for one entry of the stream door, and the right one."""
    rows: list[Any] = world.server.raw("XRANGE", stream, "-", "+")
    answers = [dict(zip(row[1][::2], row[1][1::2], strict=True)) for row in rows]
    if len(answers) != 1:
        world.history.violated(f"I3: {stream} has {len(answers)} answers")
        return
    status = answers[0][b"status"].decode()
    if status not in TERMINAL:
        world.history.violated(f"{stream} was answered {status}")
    if status == "succeeded":
        said = json.loads(answers[0][b"body"])["outputs"][0]["data"][0]
        if said != asked.kind.answer(asked.value):
            world.history.violated(f"{stream} was answered {said}")
