"""A few gateways keep house for the cell; others take over within two seconds."""

from __future__ import annotations

import pytest

from tests.helpers.cell import LEASE_MS, Cell

GATEWAYS = [f"gw{n}" for n in range(10)]


async def beats(cell: Cell, *gateways: str) -> list[str]:
    """Each beats once; those that keep house."""
    await cell.attend()
    found = [(name, await cell.scripts.gateway_beat(name, LEASE_MS)) for name in gateways]
    return [name for name, beat in found if beat.keeps_house]


@pytest.fixture
async def many(cell: Cell) -> Cell:
    """Ten gateways, the first three of which keep house."""
    cell.scripts.now_ms = 1_000_000
    assert await beats(cell, *GATEWAYS) == GATEWAYS[:3]
    return cell


async def test_the_same_gateways_go_on(many: Cell) -> None:
    """Whoever beats first."""
    many.scripts.now_ms += 1000
    assert sorted(await beats(many, *reversed(GATEWAYS))) == GATEWAYS[:3]


@pytest.mark.parametrize("dead", [1, 2, 3])
async def test_when_some_die_others_take_over(many: Cell, dead: int) -> None:
    """Two beats later, also if all of them died at once."""
    living = GATEWAYS[dead:]
    many.scripts.now_ms += 1000
    assert await beats(many, *living) == living[: 3 - dead]
    many.scripts.now_ms += 1000
    assert await beats(many, *living) == living[:3]


async def test_who_comes_back_late_finds_its_place_taken(many: Cell) -> None:
    """So there are never more for long."""
    many.scripts.now_ms += 1500
    assert await beats(many, *GATEWAYS[3:]) == GATEWAYS[3:6]
    assert await beats(many, *GATEWAYS) == GATEWAYS[3:6]


async def test_a_clock_that_went_back_leaves_nobody_in_office(many: Cell) -> None:
    """Those that died with the time of before would keep their places."""
    many.scripts.now_ms -= 900_000
    assert await beats(many, *GATEWAYS[3:]) == GATEWAYS[3:6]


async def test_alone_it_keeps_house_at_once(cell: Cell) -> None:
    """And what it left behind expires."""
    assert await beats(cell, "gw1") == ["gw1"]
    assert 0 < await cell.client.ttl(cell.keys.housekeepers) <= 60


async def test_only_housekeepers_look_for_what_dead_gateways_had_in_hand(many: Cell) -> None:
    """They list all consumers of a door."""
    await many.client.xadd(many.keys.ingress, {"model": "mnist"})
    await many.channel.execute_command(
        "XREADGROUP", "GROUP", "g", "gw9", "STREAMS", many.keys.ingress, ">"
    )
    await many.client.zadd(many.keys.gateways, {"gw9": 0})
    await many.attend()
    assert (await many.scripts.gateway_beat("gw8", LEASE_MS)).moved == 0
    assert (await many.scripts.gateway_beat("gw0", LEASE_MS)).moved == 1


async def test_every_heartbeat_shows_redis_clock_and_whether_it_is_followed(cell: Cell) -> None:
    """So a gateway that does not follow it knows when nobody does."""
    cell.scripts.redis_ms = 1_000_000
    beat = await cell.scripts.gateway_beat("gw1", LEASE_MS)
    assert (beat.redis_ms, beat.clock_follows) == (1_000_000, False)
    await cell.scripts.keep_clock(LEASE_MS)
    cell.scripts.redis_ms += 1000
    assert (await cell.scripts.gateway_beat("gw1", LEASE_MS)).clock_follows
    cell.scripts.redis_ms += 1
    beat = await cell.scripts.gateway_beat("gw1", LEASE_MS)
    assert (beat.redis_ms, beat.clock_follows) == (1_001_001, False)
