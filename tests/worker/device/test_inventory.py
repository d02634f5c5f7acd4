"""Which GPUs a worker may use, by CUDA's own rules and by the setting."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shared.errors import ConfigError, Unavailable
from worker.device import inventory, nvml
from worker.device.inventory import Gpu, choose, list_gpus, visible_of

A, B, C = "GPU-aaaa-1", "GPU-aabb-2", "GPU-cccc-3"
ALL = [A, B, C]
MIG = "MIG-dddd-4"


def gpus(count: int) -> list[Gpu]:
    return [Gpu(n, f"GPU-{n}", "NVIDIA H100") for n in range(count)]


@pytest.mark.parametrize(
    ("visible", "left"),
    [
        (None, ALL),
        ("", []),
        ("0,1,2", ALL),
        ("2,0", [C, A]),
        (" 1 , 2 ", [B, C]),
        ("1,7,2", [B]),  # CUDA sees nothing behind a wrong item
        ("-1", []),
        ("0,-1,2", [A]),
        ("none", []),
        ("1,1", []),  # nor anything at all if one comes twice
        (f"{C},{A}", [C, A]),
        ("GPU-c", [C]),  # the beginning of one
        ("GPU-aa", []),  # of two: which?
        ("GPU-x", []),
        (MIG, [MIG]),
        (f"{MIG},0", [MIG, A]),
        ("gpu0", []),
    ],
)
def test_what_is_visible_is_read_as_cuda_reads_it(visible, left):
    """Numbers, UUIDs, beginnings of UUIDs, MIG instances; in the order given."""
    assert visible_of(ALL, visible) == left


@pytest.mark.parametrize(
    ("wanted", "count", "chosen"),
    [
        ("", 0, []), ("", 2, [0, 1]), ("cpu", 2, []), ("cpu", 0, []), ("cuda", 3, [0, 1, 2]),
        ("cuda:1", 2, [1]), ("cuda:007", 8, [7]),
    ],
)  # fmt: skip
def test_the_setting_says_which_may_be_taken(wanted, count, chosen):
    """None named: any GPU, else the CPU."""
    assert [gpu.index for gpu in choose(gpus(count), wanted)] == chosen


@pytest.mark.parametrize(
    ("wanted", "count", "words"),
    [
        ("cuda", 0, "cuda, but there is no usable GPU here"),
        ("cuda:0", 0, "no usable GPU"),
        ("cuda:2", 2, "cuda:2, but GPUs are numbered 0 to 1 here"),
        ("gpu", 2, "'gpu', want cpu, cuda or cuda:<number>"),
        ("cuda:x", 2, "want cpu, cuda"),
        ("CPU", 0, "want cpu, cuda"),
    ],
)
def test_a_device_that_is_not_there_is_refused_by_the_settings_name(wanted, count, words):
    """A worker told to use a GPU does not quietly use the CPU."""
    with pytest.raises(ConfigError, match=f"^WARMROUTE_DEVICE: .*{words}"):
        choose(gpus(count), wanted)


class FakeNvml:
    """NVML's view of a GPU, by its UUID."""

    def __init__(self, uuid: str) -> None:
        if uuid not in (*ALL, MIG):
            raise Unavailable("NVML: Not Found")
        self.name = f"name of {uuid}"

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory.nvml, "installed", lambda: ALL)
    monkeypatch.setattr(inventory.nvml, "instances", lambda uuid: None)
    monkeypatch.setattr(inventory.nvml, "Nvml", FakeNvml)


@pytest.mark.usefixtures("three")
def test_gpus_are_listed_as_cuda_will_number_them():
    """With their names."""
    assert list_gpus("2,0") == [Gpu(0, C, f"name of {C}"), Gpu(1, A, f"name of {A}")]
    assert [gpu.uuid for gpu in list_gpus()] == ALL


@pytest.mark.usefixtures("three")
def test_an_instance_is_passed_through_if_it_is_there():
    """One that is not hides what follows, like any wrong item."""
    assert [gpu.uuid for gpu in list_gpus(f"{MIG},1")] == [MIG, B]
    assert [gpu.uuid for gpu in list_gpus("0,MIG-gone,1")] == [A]


@pytest.mark.usefixtures("three")
def test_the_instances_of_a_divided_gpu_stand_in_its_place(monkeypatch: pytest.MonkeyPatch):
    """A process can use one of them only, under its own name. A GPU that is divided into none
    hides no other."""
    divided = {A: [MIG, f"{MIG}x"], B: []}
    monkeypatch.setattr(inventory.nvml, "instances", divided.get)
    monkeypatch.setattr(inventory.nvml, "Nvml", lambda uuid: FakeNvml(uuid.removesuffix("x")))
    assert [gpu.uuid for gpu in list_gpus()] == [MIG, f"{MIG}x", C]
    assert [(gpu.index, gpu.uuid) for gpu in list_gpus("2,0")] == [(0, C), (1, MIG), (2, f"{MIG}x")]


@pytest.mark.usefixtures("three")
def test_a_broken_gpu_does_not_take_the_others_of_its_host(monkeypatch, caplog):
    """One that fell off the bus has no name, one with failing memory has a fault, and one that does
    not answer raises: each is left out. If no other is there, that is no machine without GPUs."""
    monkeypatch.setattr(inventory.nvml, "installed", lambda: ["", *ALL])
    monkeypatch.setattr(inventory.nvml, "fault", lambda uuid: "bad rows" if uuid == A else "")

    def silent(uuid: str) -> None:
        if uuid == B:
            raise Unavailable("NVML: Timeout")

    monkeypatch.setattr(inventory.nvml, "instances", silent)
    assert list_gpus() == [Gpu(0, C, f"name of {C}")]
    assert all(why in caplog.text for why in ("it is lost", f"{A}: bad rows", f"{B}: NVML: Tim"))
    assert [gpu.uuid for gpu in list_gpus("3")] == [C]  # numbered as if all were there
    with pytest.raises(Unavailable, match="bad rows"):
        list_gpus("1")


def test_a_broken_driver_is_no_empty_machine(monkeypatch: pytest.MonkeyPatch):
    """Else a worker of a GPU host would come up on its CPU."""

    def broken() -> None:
        raise nvml.pynvml.NVMLError(nvml.pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)

    monkeypatch.setattr(nvml.pynvml, "nvmlInit", broken)
    with pytest.raises(Unavailable, match="NVML"):
        list_gpus()


def test_a_machine_without_a_driver_has_none(monkeypatch: pytest.MonkeyPatch):
    """That is no error."""

    def missing() -> None:
        raise nvml.pynvml.NVMLError(nvml.pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(nvml.pynvml, "nvmlInit", missing)
    assert list_gpus() == []


def test_listing_needs_no_torch():
    """It is done before a GPU is chosen, and must not touch any."""
    code = "import sys, worker.device.inventory as i; i.list_gpus(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
