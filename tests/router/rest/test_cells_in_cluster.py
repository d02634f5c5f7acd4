"""A gateway of two cells in one Redis Cluster, each on a node of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.redis_server import RedisServer
from router.catalog.cell_map import CellMap
from shared.cell_list import CellAddress, tag_of
from shared.errors import ConfigError
from shared.redis_kind import check_kind
from shared.repository import open_repository
from shared.repository.publish import publish
from tests.helpers.cell import Cell, open_cell
from tests.helpers.cells import Gateway, infer, model_of, send
from tests.helpers.factories import manifest
from tests.helpers.gateway import running_gateway
from tests.helpers.redis_cluster import RedisCluster, redis_cluster
from tests.helpers.wait import wait_until

LATER = {"Prefer": "respond-async"}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster"), primaries=2) as made:
        yield made


@dataclass
class InCluster:
    """A cell on each node, with a model."""

    nodes: RedisCluster
    repository: Path
    cells: list[Cell]
    models: list[str]

    def gateway(self, *urls: str) -> Gateway:
        """A gateway that has the cells at these addresses, by default at a node each, which has the
        other cell."""
        there = urls or [node.url for node in reversed(self.nodes.nodes)]
        listed = ",".join(f"{cell.name}={url}" for cell, url in zip(self.cells, there, strict=True))
        env = {"WARMROUTE_CELLS": listed, "WARMROUTE_SHARED_MEMORY": "off"}
        return running_gateway(self.cells[0], self.repository, **env)


async def made_in(nodes: RedisCluster, folder: Path) -> InCluster:
    names = [nodes.cell_at(0), nodes.cell_at(1)]
    homes = CellMap([CellAddress(name, "") for name in names])
    models = [model_of(name, homes) for name in names]
    weights = folder / "weights"
    weights.write_bytes(b"0123456789")
    (folder / "models").mkdir()
    target = open_repository((folder / "models").as_uri())
    for model in models:
        publish(target, manifest(files=[], name=model), {"weights/0.safetensors": weights})
    cells = [open_cell(nodes.url, name) for name in names]
    for cell in cells:
        await check_kind(cell.client, cell.keys, cell.url)
    return InCluster(nodes, folder / "models", cells, models)


@pytest.fixture
async def fleet(nodes: RedisCluster, tmp_path: Path) -> AsyncIterator[InCluster]:
    made = await made_in(nodes, tmp_path)
    yield made
    for cell in made.cells:
        await cell.close()


async def test_each_request_is_in_the_cell_of_its_model(fleet: InCluster) -> None:
    """Whichever nodes are named; no cell is taken for one that belongs elsewhere."""
    for cell in fleet.cells:
        await cell.worker("w1")
    async with fleet.gateway() as gateway:
        for cell, model in zip(fleet.cells, fleet.models, strict=True):
            status, headers, _ = await infer(gateway, model, **LATER)
            assert status == 202
            assert headers["Warmroute-Request-Id"].startswith(tag_of(cell.name))
            assert await cell.client.zcard(cell.keys.deadlines) == 1
            assert (await gateway.get(headers["Location"]))[2]["status"] == "queued"
            assert await send(gateway, "DELETE", headers["Location"]) == (204, None)


async def test_a_cell_that_is_said_to_live_elsewhere_is_found(
    fleet: InCluster, own_redis: RedisServer
) -> None:
    """On whichever node of the cluster it is."""
    await fleet.cells[1].worker("w1")
    name = fleet.cells[1].name
    with pytest.raises(ConfigError, match=f"its Redis holds cell '{name}'"):
        async with fleet.gateway(fleet.nodes.url, own_redis.url):
            raise AssertionError("it started")


async def test_an_answer_outside_of_the_slot_is_refused_with_the_tag(fleet: InCluster) -> None:
    """The entry is a dead letter."""
    cell = fleet.cells[1]
    async with fleet.gateway():
        await cell.client.xadd(
            cell.keys.ingress, {"model": "m", "reply_to": "elsewhere", "body": "{}"}
        )
        await wait_until(lambda: cell.client.xlen(cell.keys.dead_letters))
    ((_, letter),) = await cell.client.xrange(cell.keys.dead_letters)
    assert f"want a name with this hash tag, as {cell.keys.answers}" in letter[b"cause"].decode()


async def test_a_gateway_starts_without_a_cell_whose_node_is_down(tmp_path: Path) -> None:
    """It is taken in once its slot is served again."""
    with redis_cluster(tmp_path / "nodes", primaries=2, replicas=2) as nodes:
        fleet = await made_in(nodes, tmp_path)
        nodes.nodes[1].child.kill()
        async with fleet.gateway(nodes.url, nodes.url) as gateway:
            assert (await infer(gateway, fleet.models[1], **LATER))[0] == 503
            assert (await infer(gateway, fleet.models[0], **LATER))[0] == 202
            nodes.fail_over(1, "TAKEOVER")

            async def serves() -> bool:
                return (await infer(gateway, fleet.models[1], **LATER))[0] == 202

            await wait_until(serves, within_s=40)
        for cell in fleet.cells:
            await cell.close()
