"""The GPU of a worker (I35): which one, how long it waits for it, what its device process sees."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from shared.config import WorkerConfig
from shared.errors import ConfigError
from tests.helpers.wait import wait_until
from worker.device.claims import claim_one
from worker.device.inventory import Gpu
from worker.supervisor import gpu_claim
from worker.supervisor.gpu_claim import GpuClaim, candidates, claim, environment
from worker.supervisor.parent import Parent
from worker.supervisor.restart import DRAINED, GIVEN_UP, MISCONFIGURED, TAKEN


def host(count: int) -> list[Gpu]:
    return [Gpu(n, f"GPU-{n}", "NVIDIA H100") for n in range(count)]


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host with two GPUs and a torch for them; the folder of its claims."""
    monkeypatch.setattr(gpu_claim.torch_build, "has_cuda", lambda: True)
    monkeypatch.setattr(gpu_claim, "list_gpus", lambda visible: host(2))
    monkeypatch.setattr(gpu_claim, "POLL_S", 0.01)
    monkeypatch.setattr(claim, "__defaults__", (tmp_path,))
    return tmp_path


@pytest.mark.parametrize(
    ("count", "requested", "said"),
    [
        (8, "", "no GPU is free: all 8 are held by other workers; start at most 8 here, or set "
         "WARMROUTE_DEVICE=cpu"),
        (1, "cuda", "no GPU is free: the only one is held by another worker"),
        (1, "cuda:1", "WARMROUTE_DEVICE: cuda:1, but that GPU is held by another worker"),
    ],
)  # fmt: skip
async def test_a_worker_without_a_free_gpu_says_what_to_do(
    tmp_path: Path, count: int, requested: str, said: str
) -> None:
    """Once the time is over."""
    held = [claim_one(host(count), tmp_path) for _ in range(count)]
    with pytest.raises(ConfigError, match=f"^{said}"):
        await claim(host(count), requested, 0, asyncio.Event(), tmp_path)
    assert all(held)


async def test_a_worker_waits_for_the_one_before_it_to_end(two_gpus: Path) -> None:
    """A deployment starts the next one while the last one drains."""
    first, second = claim_one(host(2), two_gpus), claim_one(host(2), two_gpus)
    waiting = asyncio.create_task(claim(host(2), "", 60, asyncio.Event(), two_gpus))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert first and second
    second.release()
    found = await waiting
    assert found is not None and found.gpu.uuid == "GPU-1"


async def test_a_worker_that_is_stopped_waits_no_longer(two_gpus: Path) -> None:
    """Without a GPU, and without an error."""
    held, stopping = [claim_one(host(2), two_gpus) for _ in range(2)], asyncio.Event()
    waiting = asyncio.create_task(claim(host(2), "", 3600, stopping, two_gpus))
    await asyncio.sleep(0.05)
    stopping.set()
    assert await waiting is None
    assert all(held)


@pytest.mark.parametrize("requested", ["cpu", ""])
async def test_the_driver_is_not_asked_where_no_gpu_is_wanted(
    monkeypatch: pytest.MonkeyPatch, requested: str
) -> None:
    """By the setting, or as torch could not use one."""
    monkeypatch.setattr(gpu_claim.torch_build, "has_cuda", lambda: requested == "cpu")

    def fail(visible: str | None) -> list[Gpu]:
        raise AssertionError

    monkeypatch.setattr(gpu_claim, "list_gpus", fail)
    assert await candidates(requested, {}) == []


async def test_a_gpu_for_a_torch_without_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker told to use a GPU does not quietly use the CPU."""
    monkeypatch.setattr(gpu_claim.torch_build, "has_cuda", lambda: False)
    with pytest.raises(ConfigError, match="no usable GPU here"):
        await candidates("cuda", {})


async def test_the_users_list_of_gpus_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    """As CUDA would read it."""
    seen: list[str | None] = []
    monkeypatch.setattr(gpu_claim.torch_build, "has_cuda", lambda: True)
    monkeypatch.setattr(gpu_claim, "list_gpus", lambda visible: seen.append(visible) or host(1))
    await candidates("", {"CUDA_VISIBLE_DEVICES": "3"})
    await candidates("", {})
    assert seen == ["3", None]


def test_a_device_process_sees_its_own_gpu_only() -> None:
    """So it is number 0, whatever other workers have, and an instance is opened by its own name."""
    for uuid in ("GPU-7", "MIG-7"):
        given = environment(Gpu(7, uuid, "H100"), "cuda:7", {"CUDA_VISIBLE_DEVICES": "0,1,7"})
        assert given == {
            "CUDA_VISIBLE_DEVICES": uuid, "WARMROUTE_DEVICE": "cuda:0",
            "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        }  # fmt: skip


@pytest.mark.parametrize("name", ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"])
def test_an_allocator_that_the_user_configured_is_left_alone(name: str) -> None:
    """One string holds all of its settings."""
    given = environment(host(1)[0], "", {name: "max_split_size_mb:512"})
    assert "PYTORCH_ALLOC_CONF" not in given and "PYTORCH_CUDA_ALLOC_CONF" not in given


def test_a_cpu_worker_sees_no_gpu() -> None:
    """Else torch, or a library, would make a context on somebody else's."""
    assert environment(None, "cpu", {}) == {"CUDA_VISIBLE_DEVICES": ""}
    assert environment(None, "", {}) == {}


class Started:
    """What the parent starts instead of a device process."""

    def __init__(self, seen: list[Started], env: dict[str, str], files: list[int]) -> None:
        self.env, self.files, self.signals = env, files, []
        self.epoch, self.hot, self.lived_s, self.recycling = "1", [], 100.0, False
        self.progress = type("Beats", (), {"beats": 0, "running": 0})()
        self.gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        seen.append(self)

    def send(self, number: int) -> None:
        self.signals.append(number)
        self.gone.done() or self.gone.set_result(DRAINED)

    def stopped(self) -> bool:
        return False

    def cause(self, status: int) -> str:
        return str(status)

    async def ended(self) -> int:
        return await self.gone


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Started]:
    """The device processes that parents have started."""
    seen: list[Started] = []

    async def start(env, hot, served, suspect, inherited) -> Started:
        return Started(seen, env, inherited)

    monkeypatch.setattr("worker.supervisor.parent.Child.start", start)
    monkeypatch.setattr("worker.supervisor.parent.TICK_S", 0.01)
    return seen


def worker(name: str, **settings) -> Parent:
    config = WorkerConfig(
        redis_url="redis://127.0.0.1:1/0", worker_id=name, drain_s=0.0, **settings
    )
    return Parent(config, {"CUDA_VISIBLE_DEVICES": "0,1"})


async def test_each_worker_of_a_host_starts_its_process_with_its_own_gpu(
    two_gpus: Path, started: list[Started], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The replacement of a device process gets the same one; a third worker ends with the
    reason."""
    monkeypatch.setattr("worker.supervisor.parent.MARGIN_S", 0.1)
    runs = []
    for count, name in enumerate(("w1", "w2"), 1):
        runs.append(asyncio.create_task(worker(name).run()))
        await wait_until(lambda count=count: len(started) == count)
    assert [child.env["CUDA_VISIBLE_DEVICES"] for child in started] == ["GPU-0", "GPU-1"]
    started[0].gone.set_result(-9)
    await wait_until(lambda: len(started) == 3)
    assert started[2].env["CUDA_VISIBLE_DEVICES"] == "GPU-0"
    assert started[2].files == started[0].files != started[1].files
    assert await worker("w3").run() == MISCONFIGURED
    assert "no GPU is free: all 2" in capsys.readouterr().err
    for child in started[1:]:
        child.send(15)
    assert [await run for run in runs] == [DRAINED, DRAINED]


async def test_a_worker_whose_gpu_another_process_claimed_drains_and_ends(
    two_gpus: Path, started: list[Started]
) -> None:
    """Its file was replaced. The device process drains, and no other follows."""
    run = asyncio.create_task(worker("w1").run())
    await wait_until(lambda: started)
    (two_gpus / "warmroute-GPU-0.lock").unlink()
    other = claim_one(host(1), two_gpus)
    assert other is not None and other.gpu.uuid == "GPU-0"
    assert await run == TAKEN
    assert len(started) == 1 and started[0].signals == [15]


async def test_a_clean_end_and_a_new_start_need_no_wait(
    two_gpus: Path, started: list[Started]
) -> None:
    """Under any name: the claim is the process's and not the name's."""
    for number in range(3):
        parent, before = worker(f"w{number}", device="cuda:0"), time.monotonic()
        run = asyncio.create_task(parent.run())
        await wait_until(lambda number=number: len(started) == number + 1)
        started[-1].send(15)
        assert await run in (DRAINED, GIVEN_UP)
        parent._gpu._claim.release()  # what the end of its process does
        assert time.monotonic() - before < 30


async def test_a_worker_that_has_no_gpu_loses_none() -> None:
    """Nothing to keep."""
    assert GpuClaim().lost() == "" and GpuClaim().files == []
