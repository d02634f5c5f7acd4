"""The device of a worker: the CPU, or the GPU that was claimed and that torch sees alone."""

from __future__ import annotations

import pytest
import torch

from shared.errors import ConfigError
from worker.device import opening, torch_build
from worker.device.opening import open_device


@pytest.fixture
def torch_sees(monkeypatch: pytest.MonkeyPatch):
    """What torch says of the GPUs here."""

    def set_to(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return set_to


def test_without_a_gpu_the_cpu_is_taken(torch_sees):
    """No name means the best device there is."""
    torch_sees(0)
    device = open_device()
    assert (device.name, device.kind) == ("cpu", "cpu")


def test_the_cpu_can_be_asked_for(torch_sees):
    """Also on a machine with a GPU."""
    torch_sees(2)
    assert open_device("cpu", threads=1).name == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:0:1", "CPU", "cuda:-1", " cpu"])
def test_a_name_that_is_none_is_refused(name):
    """The setting's fault, told with what would be right."""
    with pytest.raises(ConfigError, match="want cpu, cuda or cuda:<number>"):
        open_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_refused(torch_sees, name):
    """A worker told to use a GPU does not quietly use the CPU."""
    torch_sees(0)
    with pytest.raises(ConfigError, match="no usable GPU"):
        open_device(name)


def test_a_gpu_that_nvml_does_not_know_is_not_passed_over(torch_sees):
    """A container may have CUDA and no NVML: its worker would take half of the host's memory."""
    torch_sees(1)
    with pytest.raises(ConfigError, match=r"NVML does not: .*NVIDIA_DRIVER_CAPABILITIES.*=cpu"):
        open_device()


@pytest.mark.parametrize("count", [0, 2])
def test_a_claimed_gpu_is_the_only_one_that_torch_may_see(torch_sees, count):
    """Another is not opened in its place."""
    torch_sees(count)
    with pytest.raises(ConfigError, match=f"GPU-1: torch sees {count} GPUs here, want this one"):
        open_device("cuda:0", "GPU-1")


def test_the_claimed_gpu_is_opened_by_its_uuid(torch_sees, monkeypatch):
    """An instance of a GPU goes by its own."""
    opened = []
    torch_sees(1)
    monkeypatch.setattr("worker.device.cuda.CudaDevice", lambda *given: opened.append(given))
    open_device("cuda:0", "MIG-1", threads=3, tf32=True)
    assert opened == [("MIG-1", 3, True)]


def test_what_torch_was_built_for_is_known_without_an_import_of_it():
    """The parent of a worker must stay small, and must not touch a GPU."""
    assert torch_build.has_cuda() == torch.backends.cuda.is_built()
    assert opening.NO_NVML.startswith("torch sees a GPU")


@pytest.mark.parametrize(("line", "built"), [("cuda = '13.0'", True), ("cuda = None", False)])
def test_a_build_with_cuda_says_so(tmp_path, monkeypatch, line, built):
    """In a file of torch's own."""
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('this must not be imported')")
    (package / "version.py").write_text(f"from typing import Optional\n{line}\n")
    spec = torch_build.importlib.util.spec_from_file_location("torch", package / "__init__.py")
    monkeypatch.setattr(torch_build.importlib.util, "find_spec", lambda name: spec)
    assert torch_build.has_cuda() is built


def test_without_torch_there_is_no_cuda(monkeypatch):
    """The device process says what is missing."""
    monkeypatch.setattr(torch_build.importlib.util, "find_spec", lambda name: None)
    assert torch_build.has_cuda() is False
