"""The cases about large fleets, at tiny size: what they measure, and what they say of a miss."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deploy.bench.cases import collapse, scale
from deploy.bench.limits import Limit, figure_of, show
from deploy.bench.scale.fleet import DIGEST, Fleet, Member, report_of
from deploy.bench.scale.stage import LEASE_MS, MAX_ATTEMPTS, script_names
from deploy.bench.workbench import Workbench
from deploy.local.redis_server import RedisServer
from deploy.local.redis_versions import of_redis
from shared.channel import Channel
from shared.connection import open_redis
from shared.keys import Keys
from shared.scripts import Scripts


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path, 1, 0.3, Console(file=io.StringIO(), width=200))


@pytest.fixture
async def fleet(own_redis: RedisServer) -> AsyncIterator[Fleet]:
    client = open_redis(own_redis.url)
    yield Fleet(client, Keys("scale"))
    await client.aclose()


async def contents(fleet: Fleet, member: Member) -> dict[str, Any]:
    """What Redis has of a worker, by key: types, fields, members; its name is left out."""
    found: dict[str, Any] = {}
    for key in sorted(await fleet.client.keys("*")):
        kind = (await fleet.client.type(key)).decode()
        said: Any = kind
        if kind == "hash":
            said = sorted(await fleet.client.hkeys(key))
        elif kind == "set":
            said = sorted(await fleet.client.smembers(key))
        elif kind == "stream":
            said = len(await fleet.client.xinfo_groups(key))
        lasting = await fleet.client.ttl(key) == -1
        name = key.decode().replace(member.name, "<worker>")
        found[name] = (kind, str(said).replace(member.name, "<worker>"), lasting)
    return found


async def test_a_made_up_worker_is_as_the_scripts_leave_one(
    fleet: Fleet, own_redis: RedisServer
) -> None:
    """Its keys, their types, fields and lifetimes: after a registration, loads and a heartbeat."""
    refs = [f"model-{n}:1:{DIGEST}" for n in range(3)]
    made = await fleet.add("made", refs)
    expected = await contents(fleet, made)
    await fleet.client.flushall()

    channel = Channel(own_redis.url)
    scripts, report = Scripts(channel, fleet.keys), report_of(refs)
    fields = {"incarnation": "one", "parent": "one", **report}
    epoch = await scripts.register("real", LEASE_MS, MAX_ATTEMPTS, fields)
    for ref in refs:
        await scripts.announce("real", epoch, ref, "", "device 50000000")
    beaten = await scripts.heartbeat("real", epoch, "one", LEASE_MS, len(refs), report)
    assert beaten.answer == "ok"
    await channel.aclose()
    real = await contents(fleet, Member("real", epoch, refs))
    del real["{scale}:epoch"]
    real = {key: said for key, said in real.items() if ":changed:" not in key}
    assert expected == real


async def test_each_model_of_a_fleet_has_two_holders(fleet: Fleet) -> None:
    """And each worker as many models as it should."""
    await fleet.grow(6, 4)
    assert len(fleet.refs) == 12
    assert {len(member.refs) for member in fleet.members} == {4}
    holders = [await fleet.client.hlen(fleet.keys.holders(ref)) for ref in fleet.refs]
    assert set(holders) == {2}


def test_every_script_is_measured_in_every_fleet(bench: Workbench) -> None:
    """Whether it keeps within its limit here says little, on a machine that is busy."""
    size = scale.Size(
        workers=(4, 6), copies=2, samples=1, many=8, share=0.001, versions=of_redis()[:1]
    )
    figure = scale.run(bench, size)
    assert figure.ours > 0
    assert figure.reached == (figure.ours <= 1)
    rows = {what.split(",")[0].split(" ")[1] for what in figure.notes if what.endswith(", ms")}
    assert rows == set(script_names())
    whole = [what for what in figure.notes if "whole request" in what and what.endswith("us")]
    assert len(whole) == 3
    assert all("4: " in str(figure.notes[what]) for what in whole)


def test_a_busy_cell_is_measured_beside_a_calm_one(bench: Workbench) -> None:
    """Something was placed in both, and every worker beat."""
    size = collapse.Size(
        workers=(8,), copies=2, gateways=1, settle_s=0.2, seconds=1.0, versions=of_redis()[:1]
    )
    figure = collapse.run(bench, size)
    assert figure.ours > 0
    texts = [str(said) for what, said in figure.notes.items() if " workers at " in what]
    texts = [said for said in texts if said.startswith("placed/s")]
    assert len(texts) == 2
    assert all("placed/s 0.00" not in said and "leases lost 0" in said for said in texts)


def test_the_worst_of_all_limits_is_the_figure() -> None:
    """And every one that is missed is named."""
    limits = [
        Limit("a call", 4.0, "ms", 5.0),
        Limit("a share", 0.4, "x", 0.8, at_least=True),
        Limit("losses", 0.0, "", 0.0),
    ]
    figure = figure_of("a title", limits, {"more": 1})
    assert figure.ours == 2.0
    assert figure.reached is False
    missed = [what for what in figure.notes if what.startswith("MISSED")]
    assert missed == ["MISSED: a share"]
    assert figure.notes["more"] == 1
    assert figure_of("a title", limits[::2], {}).reached


def test_one_loss_where_none_may_be_is_a_miss() -> None:
    """A bound of 0 bears nothing."""
    assert not Limit("losses", 1.0, "", 0.0).is_met
    assert Limit("losses", 0.0, "", 0.0).is_met
    assert not Limit("a share", 0.0, "x", 0.8, at_least=True).is_met


def test_a_table_marks_what_is_missed() -> None:
    """Beside its limit."""
    console = Console(file=io.StringIO(), width=120)
    show(console, "limits", [Limit("a call", 6.0, "ms", 5.0), Limit("another", 1.0, "ms", 5.0)])
    text = console.file.getvalue()
    assert "6.00 ms" in text
    assert "<= 5 ms" in text
    assert text.count("MISSED") == 1
