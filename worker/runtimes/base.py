"""The seam between the worker and model formats: one `load`, one shape of loaded model."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from shared.errors import BlobMissing, LoadFailed
from shared.manifest import Manifest
from worker.device.base import Device
from worker.runtimes import (
    onnxruntime_onnx,
    pytorch_architecture,
    pytorch_program,
    pytorch_pt2,
    pytorch_torchscript,
)
from worker.runtimes.failures import of_load
from worker.runtimes.trust import Trust

__all__ = ["LoadedModel", "Trust", "load", "prepare"]


@runtime_checkable
class HasShapes(Protocol):
    """A LoadedModel that knows which shapes it takes."""

    def shapes_near(self, size: int, one_row: bool) -> list[list[int]] | None:
        """One shape per input in the manifest's order: free sizes as near to `size` as the model's
        own rules allow, with `one_row` the first as near to 1. None: no rules, or none found."""


class LoadedModel(Protocol):
    """A copy of a model on a device. All but `load` is called by the device thread only."""

    bytes_resident: int  # what this copy alone holds; set anew once it was measured
    shared: dict[str, int]  # what it holds with others: bytes by content hash, to be counted once

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name, C-contiguous. BYTES are object arrays of bytes, BF16 is uint16 bits.

        ModelFailed if the model fails (WrongOutput if it ran, but not as the manifest says),
        InvalidInput if its own rules refuse these shapes, DeviceOutOfMemory if a smaller batch or
        an eviction may help.
        """

    def unload(self) -> None:
        """Free what this copy holds. No call may follow."""


_LOADERS: dict[str, Callable[[Manifest, Mapping[str, Path], Device], LoadedModel]] = {
    "pytorch_architecture": pytorch_architecture.load,
    "pytorch_program": pytorch_program.load,
    "pytorch_torchscript": pytorch_torchscript.load,
    "pytorch_pt2": pytorch_pt2.load,
    "onnxruntime_onnx": onnxruntime_onnx.load,
}


# Libraries that a platform imports when the first model of it is loaded.
_LIBRARIES = {"onnxruntime_onnx": "onnxruntime"}


def prepare(platform: str) -> None:
    """Import what a first load of this platform would, so that it is not taken for the model's."""
    if platform in _LIBRARIES:
        with suppress(ImportError):  # the load says so
            importlib.import_module(_LIBRARIES[platform])


def load(
    manifest: Manifest, files: Mapping[str, Path], device: Device, trust: Trust
) -> LoadedModel:
    """Load a model from local `files` (by the names in the manifest), but for the weights that the
    host tier keeps. Blocks; for a loader thread.

    Untrusted before any file is opened; Corrupt, LoadFailed or DeviceOutOfMemory after that.
    """
    trust.check(manifest)
    loader = _LOADERS.get(manifest.platform)
    if loader is None:
        raise LoadFailed(f"platform {manifest.platform!r}: want one of {sorted(_LOADERS)}")
    missing = [
        entry.name
        for entry in manifest.files
        if entry.name not in files and entry.sha256 not in device.hosted
    ]
    if missing:
        raise BlobMissing(f"file {missing[0]!r} of model {manifest.name} is not in the cache")
    with of_load(f"model {manifest.name} version {manifest.version}"):
        return loader(manifest, files, device)
