"""Models for benchmarks: no knowledge in them, and next to no work to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deploy.samples.sample import (
    ANY,
    Files,
    Known,
    Made,
    Model,
    Sample,
    Tensors,
    Workplace,
    fp32,
    same,
    zeros,
)
from deploy.samples.wheels import WheelFolder
from shared.manifest import Batching

if TYPE_CHECKING:
    from torch import nn

WIDTH = 16
HIDDEN = 32
SEED = 20


def _mlp() -> nn.Module:
    import torch
    from torch import nn

    random = np.random.default_rng(SEED)
    mlp = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH)).eval()
    shapes = {name: tuple(tensor.shape) for name, tensor in mlp.state_dict().items()}
    mlp.load_state_dict(
        {
            name: torch.from_numpy(random.standard_normal(shape, np.float32) / 4)
            for name, shape in shapes.items()
        }
    )
    return mlp


def _identity() -> nn.Module:
    from deploy.samples.nets.identity import Identity

    return Identity().eval()


def _make_mlp(place: Workplace) -> Made:
    from deploy.samples import packing

    return packing.program(_mlp(), MLP, place)


def _make_identity(place: Workplace) -> Made:
    from deploy.samples import packing

    return packing.program(_identity(), IDENTITY, place)


def _request(wheels: WheelFolder) -> Tensors:
    return {"input": np.random.default_rng(SEED).standard_normal((1, WIDTH), np.float32)}


def _mlp_reference(wheels: WheelFolder, files: Files) -> Model:
    from deploy.samples import weights

    return weights.plain(_mlp(), ["input"], ["output"])


def _identity_reference(wheels: WheelFolder, files: Files) -> Model:
    return lambda inputs: {"output": inputs["input"]}


def _say(outputs: Tensors, known: Known) -> str:
    return f"{outputs['output'].size} numbers, the first {outputs['output'].flat[0]:.3f}"


MLP = Sample(
    name="tiny-mlp",
    title="Benchmark: two layers of random numbers",
    wheels=(),
    licence="",
    platform="pytorch_program",
    inputs=[fp32("input", ANY, WIDTH)],
    outputs=[fp32("output", ANY, WIDTH)],
    batching=Batching(max_size=32),
    warmup=[{"input": zeros(1, WIDTH)}],
    make=_make_mlp,
    request=_request,
    reference=_mlp_reference,
    say=_say,
    right=same,
    benchmark=True,
)
IDENTITY = Sample(
    name="identity-fp32",
    title="Benchmark: gives back what it got",
    wheels=(),
    licence="",
    platform="pytorch_program",
    inputs=[fp32("input", ANY, ANY)],
    outputs=[fp32("output", ANY, ANY)],
    batching=Batching(max_size=32),
    warmup=[{"input": zeros(1, WIDTH)}],
    make=_make_identity,
    request=_request,
    reference=_identity_reference,
    say=_say,
    right=same,
    benchmark=True,
)
