"""A device is chosen by name, or the best there is; a wrong name is a clear setting error."""

from __future__ import annotations

import pytest
import torch

from shared.errors import ConfigError
from worker.device.inventory import Gpu
from worker.device.opening import index_of, open_device, usable_gpus


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_the_cpu_is_taken():
    """No name means the best device there is."""
    device = open_device(None)
    assert (device.name, device.kind) == ("cpu", "cpu")


def test_the_cpu_can_be_asked_for():
    """Also on a machine with a GPU."""
    assert open_device("cpu", threads=1).name == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:0:1", "CPU", "cuda:-1", " cpu"])
def test_a_name_that_is_none_is_refused(name):
    """The setting's fault, told with what would be right."""
    with pytest.raises(ConfigError, match="want cpu, cuda or cuda:<number>"):
        open_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_refused(name):
    """A worker told to use a GPU does not quietly use the CPU."""
    with pytest.raises(ConfigError, match="no usable GPU"):
        open_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_claimed_gpu_that_torch_does_not_see_is_refused():
    """Another is not opened in its place."""
    with pytest.raises(ConfigError, match="GPU-1: torch sees 0 GPUs"):
        open_device(Gpu(0, "GPU-1", "NVIDIA H100", 1))
    assert usable_gpus(None) == []


@pytest.mark.parametrize(
    ("uuid", "known", "index"),
    [
        ("GPU-b", ["a", "b"], 1),  # torch leaves the prefix out
        ("GPU-a", ["GPU-a"], 0),
        ("MIG-b", ["a", "b"], 1),
        ("MIG-b", ["a"], 0),  # the instance goes by the UUID of its GPU
    ],
)
def test_a_gpu_is_found_by_its_uuid_whatever_its_number(uuid, known, index):
    """The driver's tools and CUDA may count in different orders."""
    assert index_of(uuid, known) == index


@pytest.mark.parametrize(("uuid", "known"), [("GPU-c", ["a", "b"]), ("MIG-c", ["a", "b"])])
def test_a_gpu_that_is_not_among_torchs_is_refused(uuid, known):
    """Also an instance, where it could be one of several."""
    with pytest.raises(ConfigError, match="torch sees 2 GPUs, and this is not among them"):
        index_of(uuid, known)
