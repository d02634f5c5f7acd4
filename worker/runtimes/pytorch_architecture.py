"""Platform `pytorch_architecture`: an allow-listed architecture and weights as safetensors.

Nothing in the files can run code: the class is part of this project, its sizes are numbers from
the manifest, its weights are bytes. One skeleton without memory is built per architecture and
sizes; a model is a copy of it whose parameters are the mapped weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from shared.errors import Corrupt
from shared.manifest import Manifest
from worker.device.base import Device
from worker.runtimes.architectures import Architecture, architecture
from worker.runtimes.failures import of_load
from worker.runtimes.state_dict import misfit
from worker.runtimes.torch_model import TorchModel
from worker.runtimes.weights import attach

NAME, CONFIG = "architecture", "arch."
# Measured: heap of one copied skeleton per parameter.
HEAP_PER_PARAMETER = 2 << 10


def load(manifest: Manifest, files: Mapping[str, Path], device: Device) -> TorchModel:
    """Attach the manifest's weights to a copy of the architecture's skeleton."""
    kind = architecture(str(manifest.parameters.get(NAME, "")))
    config = read_config(kind, manifest.parameters)
    key = f"architecture:{kind.name}:{msgspec.json.encode(config, order='sorted').decode()}"
    skeleton = device.shared.get(key, lambda: build_skeleton(kind, config), keep=True)
    attached = attach(manifest, files, device)
    module = with_weights(skeleton, attached.tensors)
    return TorchModel(
        manifest,
        device,
        lambda given: module(*given),
        bytes_resident=attached.overhead_bytes
        + device.heap_bytes(HEAP_PER_PARAMETER * len(attached.tensors)),
        shared=attached.shared,
        holds=(skeleton, attached),
    )


def read_config(kind: Architecture, parameters: Mapping[str, Any]) -> msgspec.Struct:
    """The sizes under `arch.` in the manifest's parameters; Corrupt if one is unknown or wrong."""
    values = {
        name.removeprefix(CONFIG): value
        for name, value in parameters.items()
        if name.startswith(CONFIG)
    }
    try:
        return msgspec.convert(values, kind.config)
    except msgspec.ValidationError as error:
        raise Corrupt(f"parameters: architecture {kind.name}: {error}") from error


def build_skeleton(kind: Architecture, config: msgspec.Struct) -> nn.Module:
    """The architecture with parameters that have a shape and no memory."""
    with of_load(f"architecture {kind.name}"), torch.device("meta"):
        return kind.build(config).eval().requires_grad_(False)


def with_weights(skeleton: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the skeleton over these tensors as they are; Corrupt if they do not fit."""
    own = skeleton.state_dict()
    if problem := misfit(own, tensors, own.keys() - tensors.keys()):
        raise Corrupt(f"weights: {problem}")
    module = copy.deepcopy(skeleton)
    module.load_state_dict(dict(tensors), strict=True, assign=True)
    return module
