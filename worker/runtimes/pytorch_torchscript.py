"""Platform `pytorch_torchscript`: a whole TorchScript archive, `model.pt`.

Its objects are read by torch's C++ unpickler, which knows a fixed set of types and runs no Python.
The script itself is code: it can read and write files. Its weights live on the heap, unshared.
Calls two and three are slow, as the interpreter optimises what it saw: warm up with three.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch

from shared.manifest import Manifest
from worker.device.base import Device
from worker.runtimes.failures import of_load
from worker.runtimes.torch_model import TorchModel

MODEL_FILE = "model.pt"


def load(manifest: Manifest, files: Mapping[str, Path], device: Device) -> TorchModel:
    """Load the archive onto the device; LoadFailed in torch's words if it is none."""
    with of_load("TorchScript archive"), warnings.catch_warnings():
        # Deprecated, not removed: the format is still served for those who have nothing else.
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(str(files[MODEL_FILE]), map_location=device.torch_device)  # type: ignore[no-untyped-call]
    module.eval()
    return TorchModel(
        manifest,
        device,
        lambda given: module(*given),
        bytes_resident=manifest.file(MODEL_FILE).size,
        shared={},
        keeps_outputs=True,
    )
