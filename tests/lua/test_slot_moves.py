"""A cell in a Redis Cluster whose slot moves: a script runs on all of its keys, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from shared.connection import may_have_run
from shared.errors import Unavailable
from shared.keys import Keys
from shared.redis_kind import check_kind
from tests.helpers.cell import Cell, open_cell
from tests.helpers.factories import kept
from tests.helpers.redis_cluster import RedisCluster, redis_cluster


@pytest.fixture(scope="module")
def nodes(
    tmp_path_factory: pytest.TempPathFactory, redis_binary: Path | None
) -> Iterator[RedisCluster]:
    """Two primaries."""
    folder = tmp_path_factory.mktemp("cluster")
    with redis_cluster(folder, primaries=2, binary=redis_binary) as made:
        yield made


@pytest.fixture
async def moving(nodes: RedisCluster) -> AsyncIterator[Cell]:
    """A cell on the first node."""
    cell = open_cell(nodes.url, nodes.cell_at(0))
    await check_kind(cell.client, cell.keys, cell.url)
    yield cell
    await cell.close()


async def test_no_script_sees_half_of_the_keys(nodes: RedisCluster, moving: Cell) -> None:
    """While its slot moves the cell is refused; nothing has run, and nothing is lost."""
    await moving.place(kept(id="before"))
    nodes.begin_move(moving.name, 0, 1)
    await refused(moving, "ASK")
    assert nodes.move_keys(moving.name, 0, 1, at_most=2) == 2
    await refused(moving, "ASK")
    nodes.move_keys(moving.name, 0, 1)
    await refused(moving, "ASK")
    nodes.end_move(moving.name, 0, 1)
    await refused(moving, "MOVED")
    await moving.place(kept(id="after"))
    exists, key = moving.client.exists, moving.keys.request
    assert [await exists(key(id)) for id in ("before", "after", "no")] == [1, 1, 0]


async def refused(cell: Cell, word: str) -> None:
    with pytest.raises(Unavailable, match=f"refused: {word}") as caught:
        await cell.place(kept(id="no"))
    assert not may_have_run(caught.value)


@pytest.mark.parametrize("taken", [False, True])
def test_the_key_that_scripts_declare_holds_them_back(nodes: RedisCluster, taken: bool) -> None:
    """It must be free: if it were there, a script would start, and stop where a key is missing."""
    node, prefix = nodes.admins[0], Keys(nodes.cell_at(0)).prefix
    script = "redis.call('SET', KEYS[1] .. ':a', 2) return redis.call('SET', KEYS[1] .. ':b', 2)"
    node.set(f"{prefix}:a", 1)
    if taken:
        node.set(prefix, 1)
    nodes.begin_move(prefix[1:-1], 0, 1)
    with pytest.raises(ResponseError, match="non local" if taken else "127.0.0.1"):
        node.eval(script, 1, prefix)
    assert node.get(f"{prefix}:a") == (b"2" if taken else b"1")
