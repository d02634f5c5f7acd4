"""Exported graphs of many kinds run as torch runs them; what cannot be right is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.errors import Corrupt
from tests.worker.runtimes.formats import pack_program
from worker.packaging.module import pack_module
from worker.runtimes.program import LoadedProgram
from worker.runtimes.program_schema import decode

CPU = torch.device("cpu")
BATCH = torch.export.Dim("batch", min=1, max=64)
SEQUENCE = torch.export.Dim("sequence", min=2, max=100)


class Call(nn.Module):
    """A module around a function and the layers it uses."""

    def __init__(self, function: Callable[..., object], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleDict(layers)

    def forward(self, x: Tensor) -> object:
        return self.function(x, **self.layers)


def regions(x: Tensor, linear: nn.Module) -> Tensor:
    with torch.no_grad():
        y = linear(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = linear(y)
    return z.float()


def several(x: Tensor) -> object:
    left, right = x.split(2, dim=1)
    values, places = torch.topk(x, 2)
    return {
        "sum": left + right + x.chunk(2, 1)[0],
        "rest": (values, [places, torch.arange(len(x))]),
    }


def kernels(x: Tensor) -> object:
    image = x.view(-1, 1, 2, 2)
    grown = F.interpolate(image, scale_factor=2.0, mode="bilinear")
    mixed = grown.to(torch.bfloat16).to(memory_format=torch.channels_last).float().contiguous()
    full = x.new_full((x.shape[0], 2), float("inf"))
    picked = x[:, [0, 3]], torch.einsum("bi,bj->bij", x, x), torch.zeros_like(x, dtype=torch.int64)
    return mixed, full, *picked, F.pad(x, (1, 1)), torch.where(x > 0, x, 0.0), x[x.shape[0] - 1 :]


def transforms(x: Tensor) -> object:
    return torch.fft.rfft(x).abs(), torch.fft.irfft(torch.fft.rfft(x) * (1 + 2j))


CASES: dict[str, nn.Module] = {
    "in place on a value": nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True)),
    "in place on the input": Call(lambda x: x.relu_() + 1),
    "grad and autocast regions": Call(regions, linear=nn.Linear(4, 4)),
    "a branch on data": Call(
        lambda x: torch.cond(x.sum() > 0, lambda a: (a + 1,), lambda a: (a - 1,), (x,))
    ),
    "several outputs": Call(several),
    "many kernels": Call(kernels),
    "complex numbers": Call(transforms),
    "arithmetic on sizes": Call(lambda x: x * torch.sym_sqrt(x.shape[0]) + x.shape[0] // 2),
    "a constant": Call(lambda x: x + torch.tensor([1.0, 2.0, 3.0, 4.0])),
    "dropout and normalisation": nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5)),
    "a recurrent layer": Call(lambda x, lstm: lstm(x.unsqueeze(1)), lstm=nn.LSTM(4, 5, 2)),
    "bfloat16": Call(
        lambda x, linear: linear(x.bfloat16()), linear=nn.Linear(4, 4, dtype=torch.bfloat16)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_packed_graph_answers_as_its_module(name, tmp_path):
    """Packing runs the graph on the example and compares the answer with the module's."""
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    packed = pack_module(CASES[name], None, (x,), None, None, None, tmp_path)
    assert packed.files["program.json"].exists()


def test_attention_with_two_dynamic_sizes_answers_as_its_module(tmp_path):
    """A transformer layer with dynamic batch and length, at sizes it was not traced at."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    dims = {"src": {0: BATCH, 1: SEQUENCE}}
    packed = pack_module(layer, None, (torch.randn(2, 5, 16),), dims, None, None, tmp_path)
    program = decode(packed.files["program.json"].read_bytes())
    forward = LoadedProgram(program, CPU, "", 0).bind(layer.state_dict())
    for shape in ((1, 2, 16), (7, 30, 16)):
        x = torch.randn(shape)
        with torch.inference_mode():
            torch.testing.assert_close(forward([x])[0], layer(x))


class Counter(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.view(-1).add_(1)
        return x + self.calls


class InTraining(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5, training=True)


REFUSED = {
    "writes to": Counter(),
    "training mode": InTraining(),
    "not a tensor": Call(lambda x: (x, 3)),
    "higher_order.while_loop' is not supported": Call(
        lambda x: torch._higher_order_ops.while_loop(
            lambda a: a.sum() < 10, lambda a: (a + 1,), (x,)
        )
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_served_is_refused_when_it_is_packed(reason, tmp_path):
    """State between requests, random answers and unknown operators are found at the publisher's."""
    with pytest.raises(Corrupt, match=reason):
        pack_module(REFUSED[reason], None, (torch.ones(2, 4),), None, None, None, tmp_path)


def test_an_input_that_the_graph_writes_to_is_copied(tmp_path):
    """The caller's tensor is the same after the call as before."""
    module = CASES["in place on the input"]
    packed = pack_module(module, None, (-torch.ones(2, 4),), None, None, None, tmp_path)
    program = decode(packed.files["program.json"].read_bytes())
    x = -torch.ones(2, 4)
    (answer,) = LoadedProgram(program, CPU, "", 0).bind({})([x])
    assert torch.equal(x, -torch.ones(2, 4))
    assert torch.equal(answer, torch.ones(2, 4))


def test_devices_in_the_graph_become_the_workers_device(tmp_path):
    """A graph exported on a CPU creates its tensors where the worker wants them."""
    module = Call(lambda x: torch.arange(3, device=x.device) + 1)
    packed = pack_module(module, None, (torch.ones(2),), None, None, None, tmp_path)
    program = decode(packed.files["program.json"].read_bytes())
    meta = LoadedProgram(program, torch.device("meta"), "", 0).bind({})
    (answer,) = meta([torch.ones(2, device="meta")])
    assert answer.device.type == "meta"


def changed(tmp_path: Path, change: Callable[[dict[str, object]], None]) -> LoadedProgram:
    """The MLP's program after `change` to its graph."""
    raw = json.loads(pack_program(tmp_path).files["program.json"].read_bytes())
    change(raw["graph_module"]["graph"])
    return LoadedProgram(decode(json.dumps(raw).encode()), CPU, "", 0)


def _set(key: str, value: object) -> Callable[[dict[str, object]], None]:
    return lambda graph: graph["nodes"][0].update({key: value})  # type: ignore[index]


ARGUMENT = {"name": "x", "arg": {"as_tensor": {"name": "x"}}, "kind": 1}


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("target", "torch.os.system", "not supported"),
        ("target", "torch.ops.aten.__class__.__call__", "not supported"),
        ("target", "torch.ops.aten.from_file.default", "not supported"),
        ("target", "torch.ops.evil.run.default", "not supported"),
        ("target", "torch.ops.aten.linear", "not supported"),
        ("target", "math.factorial", "not supported"),
        ("inputs", [{**ARGUMENT, "arg": {"as_tensor": {"name": "ghost"}}}], "does not parse"),
        ("inputs", [{**ARGUMENT, "arg": {"as_custom_obj": {"name": "x"}}}], "is not supported"),
        ("inputs", [{**ARGUMENT, "arg": {"as_operator": "torch.os.system"}}], "is not supported"),
        ("inputs", [{**ARGUMENT, "arg": {"as_ints": 3}}], "does not parse"),
        ("inputs", [{**ARGUMENT, "arg": {"as_scalar_type": 99}}], "does not parse"),
        ("outputs", [{"as_tensor": {"name": "x"}}], "computed twice"),
        ("outputs", [{"as_custom_obj": {"name": "y"}}, {"as_none": True}], "is not supported"),
        ("outputs", [{"as_tensor": {}}], "has no name"),
    ],
)
def test_a_graph_that_was_tampered_with_is_refused(key, value, reason, tmp_path):
    """Names lead nowhere but to tensor operators and values of the graph itself."""
    with pytest.raises(Corrupt, match=reason):
        changed(tmp_path, _set(key, value))


def test_names_in_a_graph_never_become_source(tmp_path):
    """torch.fx writes Python from a graph; the names in it are ours."""
    evil = "x\n    import os\n    os.system('true')"

    def rename(graph: dict[str, object]) -> None:
        text = json.dumps(graph).replace('"linear_1"', json.dumps(evil))
        graph.update(json.loads(text))

    program = changed(tmp_path, rename)
    assert "os.system" not in program._call.__self__.code
