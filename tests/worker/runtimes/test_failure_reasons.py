"""Real errors of TorchScript, torch.export and onnxruntime: what is told is the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from shared.errors import Corrupt, InvalidInput
from worker.packaging.module import pack_module
from worker.packaging.program import pack_pt2
from worker.runtimes import failures

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class AtMostTwo(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert x.size(0) < 3, "at most two rows please"
        return x


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.size(0) > 1:
            raise ValueError("one row only")
        return x


class OnAnotherDevice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.zeros(3, device=torch.device("cuda:0"))


class LooksUp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.embedding(torch.ones(3, 2), x)


class Multiplies(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.ones(7, 2)


class Sums(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x


class Fixes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(3, 2)


def scripted(module: nn.Module, x: Tensor) -> Callable[[], object]:
    return lambda: torch.jit.script(module)(x)


def nested(module: nn.Module, x: Tensor) -> Callable[[], object]:
    return lambda: torch.jit.script(nn.Sequential(nn.Identity(), module))(x)


def traced(x: Tensor) -> Callable[[], object]:
    return lambda: torch.jit.trace(nn.Linear(3, 2), torch.ones(1, 3))(x)


def onnx_session(missing: str = "") -> Callable[[], object]:
    def run() -> object:
        given, given_shape = ("x", [1, 3])
        weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 2], [0.0] * 8)
        if missing:
            weight.ClearField("float_data")
            weight.data_location = TensorProto.EXTERNAL
            weight.external_data.add(key="location", value=missing)
        graph = helper.make_graph(
            [helper.make_node("MatMul", [given, "w"], ["y"])],
            "g",
            [helper.make_tensor_value_info(given, TensorProto.FLOAT, ["n", "m"])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
            [weight],
        )
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=9)
        assert isinstance(model, onnx.ModelProto)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        return session.run(None, {"x": np.zeros(given_shape, np.float32)})

    return run


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        (scripted(AtMostTwo(), torch.ones(3)), "RuntimeError: AssertionError: at most two rows"),
        (nested(AtMostTwo(), torch.ones(3)), "RuntimeError: AssertionError: at most two rows"),
        (scripted(Raises(), torch.ones(3)), "ValueError: one row only"),
        (scripted(OnAnotherDevice(), torch.ones(3)), "'CUDA' backend"),
        (scripted(LooksUp(), torch.tensor([7])), "index out of range in self"),
        (scripted(Multiplies(), torch.ones(1, 3)), "cannot be multiplied (1x3 and 7x2)"),
        (traced(torch.ones(2, 5)), "cannot be multiplied (2x5 and 3x2)"),
        (lambda: Multiplies()(torch.ones(1, 3)), "cannot be multiplied (1x3 and 7x2)"),
        (onnx_session(), "MatMul"),
        (onnx_session("weights.data"), "weights.data"),
    ],
)
def test_the_line_that_is_told_says_the_reason(
    fails: Callable[[], object], reason: str, tmp_path: Path
) -> None:
    """Not the first line of a traceback; a file that is missing is named."""
    with pytest.raises(Exception) as caught:
        fails()
    told = failures.summary(caught.value)
    assert reason in told
    assert "interpreter" not in told
    assert len(told) <= failures.MAX_CHARS


@pytest.mark.parametrize(
    ("module", "dims", "reasons"),
    [
        (Sums(), None, ["data-dependent", "x * 2 if x.sum() > 0", "TorchScript or ONNX"]),
        (Fixes(), ({0: torch.export.Dim("n", min=1)},), ["specialized it to be a constant (6)"]),
        (Multiplies(), None, ["fails with the example", "--example"]),
    ],
)
def test_a_module_that_cannot_be_exported_is_told_why_in_one_line(
    module: nn.Module, dims: object, reasons: list[str], tmp_path: Path, capfd
) -> None:
    """With the line of its code and another way, and no screens of graph around it."""
    with pytest.raises(InvalidInput) as caught:
        pack_module(module, None, (torch.ones(6),), dims, None, None, tmp_path)
    assert all(reason in caught.value.message for reason in reasons)
    assert len(caught.value.message.splitlines()) == 1
    assert capfd.readouterr().err == ""


def test_an_operator_that_is_not_offered_is_named_with_another_way(tmp_path: Path) -> None:
    """As in a quantised export."""
    from torch.ao.quantization.fx import _decomposed

    assert _decomposed

    class Quantised(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            ops = torch.ops.quantized_decomposed
            return ops.dequantize_per_tensor(x, 0.01, 0, -128, 127, torch.int8)

    x = torch.ones(3, dtype=torch.int8)
    torch.export.save(torch.export.export(Quantised(), (x,)), tmp_path / "m.pt2")
    with pytest.raises(Corrupt, match=r"dequantize_per_tensor.*TorchScript or ONNX"):
        pack_pt2(tmp_path / "m.pt2", tmp_path / "out")
