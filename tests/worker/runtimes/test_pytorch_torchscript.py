"""TorchScript is deprecated, not gone: it loads without noise and keeps answers apart."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from shared.manifest import TensorSpec
from tests.worker.runtimes.formats import FORMATS
from worker.packaging.whole_file import pack_torchscript
from worker.runtimes.base import Trust, load

TRUSTED = Trust(code=True)


def test_loading_warns_of_nothing(publish, device, tmp_path):
    """torch's deprecation notice is for those who write models, not for those who serve them."""
    local = publish(FORMATS["pytorch_torchscript"].pack(tmp_path / "m", 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(local.manifest, local.files, device, TRUSTED)


class Remembering(torch.nn.Module):
    """Returns the very tensor it keeps its state in."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.total.add_(x.sum())
        return self.total


def test_an_answer_is_not_overwritten_by_the_next_call(publish, device, tmp_path):
    """A scripted model may return its own state and change it in the next call."""
    path = tmp_path / "m.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Remembering()).save(str(path))
    spec = TensorSpec("x", "FP32", [1])
    local = publish(pack_torchscript(path, [spec], [TensorSpec("total", "FP32", [1])]))
    model = load(local.manifest, local.files, device, TRUSTED)
    x = {"x": np.ones(1, np.float32)}
    first = model.run(x)["total"]
    second = model.run(x)["total"]
    assert (first.item(), second.item()) == (1.0, 2.0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("layer", "told"), [(nn.Dropout(), 1), (nn.ReLU(), 0)])
def test_an_archive_in_training_mode_is_told_of_where_it_matters(layer, told, tmp_path):
    """It is served as eval(): a publisher who forgot that must know."""
    torch.jit.script(nn.Sequential(layer)).save(str(tmp_path / "m.pt"))
    spec = [TensorSpec("input", "FP32", [-1])]
    packed = pack_torchscript(tmp_path / "m.pt", spec, [TensorSpec("y", "FP32", [-1])])
    assert len(packed.notes) == told
