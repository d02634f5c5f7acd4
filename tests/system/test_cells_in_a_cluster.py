"""Two real cells in one Redis Cluster, behind one gateway, under load: the slot of one moves to
another node, and the node of the other fails over to its replica. No accepted request is lost, none
runs twice under one key.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deploy.local.cell_client import open_client
from tests.helpers.keyed_load import KeyedLoad
from tests.helpers.models import publish_mlp
from tests.helpers.redis_cluster import RedisCluster, redis_cluster
from tests.helpers.stack import Stack

MODELS = 6
PAUSE_S = 0.3  # between the steps of an operator who moves a slot


@pytest.mark.timeout(120)  # it starts three nodes and three processes
def test_no_request_is_lost_or_doubled(tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    with redis_cluster(tmp_path, primaries=2, replicas=1) as nodes:
        first = nodes.cell_at(0)
        with Stack(
            tmp_path, (tmp_path / "repository").as_uri(), {"WARMROUTE_CELL": first},
            cells=2, redis_url=nodes.url,
        ) as stack:  # fmt: skip
            run(stack, nodes)


def run(stack: Stack, nodes: RedisCluster) -> None:
    for cell in stack.cells:
        stack.start_worker(cell=cell)
    models = [publish_mlp(stack.repository, stack.folder) for _ in range(MODELS)]
    gateway = stack.start_gateway()
    stack.wait_ready()
    first, second = (cell.name for cell in stack.cells)
    source = nodes.owner(second)
    with KeyedLoad(models, gateway.url) as load:
        load.wait_for(20)
        move(nodes, second, source, 1 - source)
        load.wait_for(20)
        nodes.fail_over(0)
        load.wait_for(20)
    accepted = load.check()
    assert sorted(kept(stack)) == sorted(accepted)
    assert all(process.running for process in (*stack.gateways, *stack.workers))
    assert nodes.owner(first) == 2 and nodes.owner(second) != source


def move(nodes: RedisCluster, cell: str, source: int, target: int) -> None:
    """The slot of a cell, while its processes go on."""
    nodes.begin_move(cell, source, target)
    time.sleep(PAUSE_S)
    nodes.move_keys(cell, source, target, at_most=3)
    time.sleep(PAUSE_S)
    nodes.move_keys(cell, source, target)
    nodes.end_move(cell, source, target)


def kept(stack: Stack) -> list[str]:
    """The ids of the records in all cells."""
    found = []
    for cell in stack.cells:
        with open_client(cell.redis_url, cell.name) as client:
            start = f"{{{cell.name}}}:request:"
            found += [key.decode().removeprefix(start) for key in client.scan_iter(f"{start}*")]
    return found
