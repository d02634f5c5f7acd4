"""The interface between the worker and the platforms: `load`, and the LoadedModel it returns."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from shared.errors import BlobMissing, LoadFailed
from shared.manifest import Manifest
from shared.platforms import PLATFORMS, resolve
from worker.device.base import Device
from worker.runtimes.failures import of_load
from worker.runtimes.trust import Trust

__all__ = ["LoadedModel", "Trust", "load", "prepare"]


@runtime_checkable
class HasShapes(Protocol):
    """A LoadedModel that knows which input shapes it accepts."""

    def shapes_near(self, size: int, one_row: bool) -> list[list[int]] | None:
        """One shape per input in the manifest's order, each free size as near to `size` as the
        model's own rules allow; with `one_row` the first size of each input as near to 1. None if
        the model has no rules or no shape fits them."""


class LoadedModel(Protocol):
    """A copy of a model on a device. All methods run on the device thread."""

    bytes_resident: int  # bytes of this copy alone; corrected once the load has been measured
    shared: dict[str, int]  # bytes by content hash that other copies may hold too: counted once

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model once. Outputs by name, C-contiguous, with the shapes of the manifest. BYTES
        are object arrays of bytes, BF16 is uint16 bits.

        ModelFailed if the model fails (WrongOutput if it ran, but not as the manifest says),
        InvalidInput if its own rules refuse these shapes, DeviceOutOfMemory if a smaller batch or
        an eviction may help.
        """

    def unload(self) -> None:
        """Free the memory of this copy. No other call may follow."""


Loader = Callable[[Manifest, Mapping[str, Path], Device], LoadedModel]
# Resolved when a worker starts: an import during a load would count as the model's own time.
_LOADERS: dict[str, Loader] = {name: resolve(row.loader) for name, row in PLATFORMS.items()}


def prepare(platform: str) -> None:
    """Import the library that the first load of this platform needs, so that its memory is not
    taken for the model's. A library that is missing is reported by the load."""
    row = PLATFORMS.get(platform)
    if row is not None and row.library:
        with suppress(ImportError):
            importlib.import_module(row.library)


def load(
    manifest: Manifest, files: Mapping[str, Path], device: Device, trust: Trust
) -> LoadedModel:
    """Load a model onto `device`. `files`: local paths by the names in the manifest, without the
    weights that the host tier keeps. Blocks; for a loader thread.

    Untrusted before any file is opened; after that Corrupt, BlobMissing, LoadFailed or
    DeviceOutOfMemory.
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
