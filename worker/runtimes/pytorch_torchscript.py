"""Platform `pytorch_torchscript`: a whole TorchScript archive, `model.pt`.

Its objects are read by torch's C++ unpickler, which knows a fixed set of types and runs no Python.
The script itself is code: it can read and write files. Its weights are on the heap, not shared.
The second and third call are slow, since the interpreter optimises then: warm up with three.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from shared.errors import InvalidInput, LoadFailed
from shared.manifest import Manifest
from worker.device.base import Device
from worker.runtimes.failures import of_load
from worker.runtimes.script_signature import (
    Argument,
    Place,
    caller,
    find_places,
    places_in_order,
    read_arguments,
)
from worker.runtimes.torch_model import TorchModel

MODEL_FILE = "model.pt"


def load(manifest: Manifest, files: Mapping[str, Path], device: Device) -> TorchModel:
    """Load the archive onto the device; LoadFailed with torch's message if it is not an archive,
    or if forward() does not take the manifest's inputs."""
    with device.loading():
        module = open_archive(files[MODEL_FILE], device.torch_device)
    module.eval()
    arguments = read_arguments(module)
    call = caller(arguments, _places(arguments, [spec.name for spec in manifest.inputs]))
    return TorchModel(
        manifest,
        device,
        lambda given: call(module, given),
        bytes_resident=manifest.file(MODEL_FILE).size,
        shared={},
        writes=True,
    )


def open_archive(path: Path, device: torch.device) -> Any:
    """The archive's module as it was saved; LoadFailed with torch's message if it is not one."""
    with of_load("TorchScript archive"), warnings.catch_warnings():
        # Deprecated, not removed: some models exist in this format only.
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]


def _places(arguments: Sequence[Argument], names: Sequence[str]) -> list[Place]:
    """Places by name; by position only where no name is an argument of forward(), as older releases
    published."""
    try:
        return find_places(arguments, names)
    except InvalidInput as error:
        own = {argument.name for argument in arguments}
        unknown = not any(name.partition(".")[0] in own for name in names)
        places = places_in_order(arguments, len(names)) if unknown else None
        if places is None:
            raise LoadFailed(f"manifest: {error.message}") from error
        return places
