"""One GPU per worker: eight workers on eight GPUs, and the ninth is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from shared.errors import ConfigError
from worker.device.inventory import Gpu
from worker.device.opening import claim


class FakeClaims:
    """The script's promise: the first that is free or the worker's own, atomically."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    async def claim_device(self, worker: str, ttl_ms: int, uuids: Sequence[str]) -> int:
        await asyncio.sleep(0)
        assert ttl_ms > 0
        own = [n for n, uuid in enumerate(uuids) if self.held.get(uuid) == worker]
        free = [n for n, uuid in enumerate(uuids) if uuid not in self.held]
        for n in (*own, *free):
            self.held[uuids[n]] = worker
            return n
        return -1


def host(count: int) -> list[Gpu]:
    return [Gpu(n, f"GPU-{n}", "NVIDIA H100", 80 << 30) for n in range(count)]


async def test_eight_workers_take_eight_gpus_and_the_ninth_is_refused():
    """Each one of its own, whoever comes first; the ninth learns what to do."""
    claims, gpus = FakeClaims(), host(8)
    taken = await asyncio.gather(*(claim(claims, f"w{n}", "", gpus) for n in range(8)))
    assert sorted(gpu.index for gpu in taken if gpu) == list(range(8))
    with pytest.raises(
        ConfigError, match="no GPU is free: all 8 are held by other workers"
    ) as told:
        await claim(claims, "w9", "", gpus)
    assert "start at most 8" in told.value.message
    assert "WARMROUTE_DEVICE=cpu" in told.value.message


async def test_a_worker_that_comes_back_gets_its_own_gpu_again():
    """Its claim of before is no reason to refuse it."""
    claims, gpus = FakeClaims(), host(2)
    first = await claim(claims, "w1", "cuda", gpus)
    await claim(claims, "w2", "cuda", gpus)
    assert await claim(claims, "w1", "cuda", gpus) == first


async def test_a_gpu_that_was_named_is_the_only_one_tried():
    """Another that is free does not take its place."""
    claims, gpus = FakeClaims(), host(3)
    assert await claim(claims, "w1", "cuda:1", gpus) == gpus[1]
    with pytest.raises(ConfigError, match=r"WARMROUTE_DEVICE: cuda:1, .* held by another worker"):
        await claim(claims, "w2", "cuda:1", gpus)


async def test_the_only_gpu_can_be_held():
    """The sentence fits one as well."""
    claims = FakeClaims()
    await claim(claims, "w1", "", host(1))
    with pytest.raises(ConfigError, match="the only one is held by another worker"):
        await claim(claims, "w2", "", host(1))


@pytest.mark.parametrize(("wanted", "count"), [("", 0), ("cpu", 0), ("cpu", 8)])
async def test_a_worker_on_a_cpu_claims_nothing(wanted, count):
    """Any number of them may run on one host."""
    claims = FakeClaims()
    assert await claim(claims, "w1", wanted, host(count)) is None
    assert claims.held == {}
