"""A push is never an outage: who asks by name is answered, whatever is pushed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.pushes import HALF, Callers, Pushes
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from tests.system.setup import open_stack
from warmroute import NotFound, ServerError

VERSIONS = 30


@pytest.fixture
def pushes(tmp_path: Path) -> Pushes:
    return Pushes(tmp_path, "encoder")


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """What is written here makes loads of the workers slow."""
    return tmp_path / "points"


@pytest.fixture
def stack(tmp_path: Path, points: Path) -> Iterator[Stack]:
    """A small one, whose workers may run no code."""
    points.write_text("")
    settings = {
        "WARMROUTE_TRUST_CODE": "",
        "WARMROUTE_MEMORY_BYTES": str(8 << 20),
        "WARMROUTE_CATALOG_TTL_S": "0.3",
        "WARMROUTE_UNLOADABLE_S": "2",
        "WARMROUTE_FAILPOINT": f"@{points}",
    }
    with open_stack(tmp_path, **settings) as stack:
        yield stack


def is_bad(version: int) -> bool:
    """A third of them, the last one too."""
    return version % 3 == 0


@pytest.mark.timeout(180)
def test_thirty_pushes_of_which_ten_cannot_be_loaded(stack: Stack, pushes: Pushes) -> None:
    """No request fails, and in the end the newest that can be loaded answers."""
    stack.scale(gateways=2, workers=2)
    pushes.good(stack.repository, 1)
    with Callers(stack.gateways[0].url, pushes) as callers:
        block_until(lambda: callers.answered[1])
        for version in range(2, VERSIONS + 1):
            before = callers.answered.total()
            kind = pushes.bad[version // 3 % len(pushes.bad)] if is_bad(version) else pushes.good
            kind(stack.repository, version)
            block_until(lambda seen=before: callers.answered.total() > seen + 20)
        block_until(lambda: callers.newest() == VERSIONS - 1, 60)
    assert callers.wrong == []
    assert [version for version in callers.answered if is_bad(version)] == []
    block_until(lambda: stack.client(stack.gateways[1]).versions(pushes.name)["serves"] == "29")
    for version in range(3, VERSIONS + 1, 3):
        with pytest.raises(ServerError) as refusal:
            stack.client().load(pushes.name, version=version)
        assert refusal.value.status in (403, 404, 422, 502, 507), refusal.value
        assert not isinstance(refusal.value, NotFound)


@pytest.mark.timeout(120)
def test_whoever_dies_in_the_middle_of_a_trial(stack: Stack, pushes: Pushes, points: Path) -> None:
    """Worker or gateway, by `kill -9`: those who ask another gateway notice nothing, and the new
    version comes all the same."""
    stack.scale(gateways=2, workers=2)
    pushes.good(stack.repository, 1)
    with Callers(stack.gateways[0].url, pushes) as callers:
        block_until(lambda: callers.answered[1])
        for version, dies in ((2, "worker"), (3, "gateway")):
            points.write_text("load.mid:sleep=60000@1.0")
            pushes.good(stack.repository, version)
            loading = stack.keys.load("")
            keys = f"{loading}{pushes.name}:{version}:*"
            block_until(lambda keys=keys: _loader(stack, keys))
            points.write_text("")
            stack.kill(
                stack.worker(_loader(stack, keys)) if dies == "worker" else stack.gateways[1]
            )
            block_until(lambda version=version: callers.newest() == version, 60)
    assert callers.wrong == []


def _loader(stack: Stack, keys: str) -> str:
    """The worker that loads it just now."""
    for key in stack.redis.scan_iter(keys):
        phase, worker = stack.redis.hmget(key, "phase", "worker")
        if phase == b"loading":
            return str(worker.decode())
    return ""


@pytest.mark.timeout(120)
def test_a_version_that_finds_no_room_beside_the_one_in_use(stack: Stack, pushes: Pushes) -> None:
    """The one in use goes on, and is not evicted for a trial; why the other waits is said. Who has
    it loaded decides otherwise."""
    stack.scale()
    pushes.sizes = HALF
    pushes.good(stack.repository, 1)
    client = stack.client()
    with Callers(stack.gateways[0].url, pushes) as callers:
        block_until(lambda: callers.answered[1])
        pushes.good(stack.repository, 2)

        def why() -> str:
            return str(client.versions(pushes.name)["versions"][0].get("error", ""))

        block_until(lambda: "requests get meanwhile" in why(), 30)
        assert not list(client.events(model=pushes.name, kinds=["evicted"]))
        client.load(pushes.name)
        block_until(lambda: callers.newest() == 2, 30)
    assert callers.wrong == []


@pytest.mark.timeout(120)
def test_what_is_live_stays_so_when_redis_has_lost_everything(stack: Stack, pushes: Pushes) -> None:
    """A version that cannot be loaded is the newest; the older one is warm: its worker says it
    again."""
    stack.scale()
    pushes.good(stack.repository, 1)
    pushes.good(stack.repository, 2)
    client = stack.client()
    client.load(pushes.name, version=1)
    pushes.corrupt(stack.repository, 3)
    client.load(pushes.name, version=2)
    with Callers(stack.gateways[0].url, pushes, threads=1) as callers:
        block_until(lambda: callers.answered[2])
        before = callers.answered[2]
        stack.redis.flushall()
        block_until(lambda: callers.answered[2] > before + 50, 60)
    # What was under way is lost with Redis, and what cannot be loaded is not asked.
    assert not any("ONNX" in text or "TorchScript" in text for text in callers.wrong)
    assert callers.answered.keys() == {2}
    assert client.versions(pushes.name)["serves"] == "2"


@pytest.mark.timeout(120)
def test_a_version_that_is_deleted_gives_its_place_to_the_one_before(
    stack: Stack, pushes: Pushes
) -> None:
    """Also while it is warm; asked for by its number, it is gone."""
    stack.scale()
    for version in (1, 2):
        pushes.good(stack.repository, version)
        stack.client().load(pushes.name, version=version)
    with Callers(stack.gateways[0].url, pushes) as callers:
        block_until(lambda: callers.newest() == 2)
        stack.repository.delete_manifest(pushes.name, 2)
        block_until(lambda: callers.newest() == 1)
    assert callers.wrong == []

    def is_gone() -> bool:
        try:
            stack.client().model(pushes.name, version=2)
        except NotFound:
            return True
        return False

    block_until(is_gone)
