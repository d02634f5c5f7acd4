"""A device is chosen by name, or the best there is; a wrong name is a clear setting error."""

from __future__ import annotations

import pytest
import torch

from shared.errors import ConfigError
from worker.device.opening import open_device


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
