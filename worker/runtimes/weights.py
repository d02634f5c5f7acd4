"""Weights from safetensors blobs, mapped and attached without a copy.

A blob is named by its hash, so it is mapped once per device and shared by all models that use it,
until the last of them is unloaded. What the host tier keeps is attached without its file. Mappings
are private: a kernel that writes to its weights makes pages of its own and can neither crash on
read-only memory nor change the file. No descriptor is kept, so hundreds of blobs do not meet the
limit of open files. safetensors holds no code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from shared.errors import BlobMissing, Corrupt
from shared.manifest import FileEntry, Manifest
from worker.device.base import Device
from worker.device.hosting import map_bytes
from worker.runtimes.failures import of_load
from worker.runtimes.safetensors_header import StoredTensor, header_size, parse_header

WEIGHTS = "weights/"
ALIAS = "alias."
# Measured on 60 variants of a 101-tensor model: heap of one attached weight (view and entries).
HEAP_PER_TENSOR = 1536


class Weights:
    """The tensors of one blob, on the device. `bytes`: size of the blob."""

    def __init__(self, tensors: dict[str, Tensor], size: int) -> None:
        self.tensors = tensors
        self.bytes = size


class Attached:
    """All weights of a model by name, and the bytes of each blob by hash."""

    def __init__(
        self, blobs: Mapping[str, Weights], aliases: Mapping[str, str], device: Device
    ) -> None:
        self.tensors: dict[str, Tensor] = {}
        for blob in blobs.values():
            twice = self.tensors.keys() & blob.tensors.keys()
            if twice:
                raise Corrupt(f"weights: tensor {sorted(twice)[0]!r} is in two files")
            self.tensors |= blob.tensors
        for name, other in aliases.items():
            if other not in self.tensors:
                raise Corrupt(
                    f"weights: tensor {name!r} is an alias of {other!r}, which is missing"
                )
            self.tensors[name] = self.tensors[other]
        self.shared = {sha256: blob.bytes for sha256, blob in blobs.items()}
        self.overhead_bytes = device.heap_bytes(HEAP_PER_TENSOR * len(self.tensors))
        self.holders = list(blobs.values())  # the weak cache drops a blob without a holder


def attach(manifest: Manifest, files: Mapping[str, Path], device: Device) -> Attached:
    """Attach all `weights/` files of the manifest, those that the host tier keeps from there, the
    others from `files`. Corrupt if one is not a valid safetensors file, BlobMissing if it is in
    neither.
    """
    blobs: dict[str, Weights] = {}
    for entry in manifest.files:
        if entry.name.startswith(WEIGHTS):
            blobs[entry.sha256] = _shared(entry, files.get(entry.name), device)
    aliases = {
        name.removeprefix(ALIAS): str(other)
        for name, other in manifest.parameters.items()
        if name.startswith(ALIAS)
    }
    return Attached(blobs, aliases, device)


def _shared(entry: FileEntry, path: Path | None, device: Device) -> Weights:
    def read() -> Weights:
        with of_load(f"weights {entry.name}"):
            found = _found(entry, path, device)
            return Weights(device.place_all(found.tensors), found.bytes)

    return device.shared.get(f"blob:{entry.sha256}", read)


def _found(entry: FileEntry, path: Path | None, device: Device) -> Weights:
    hosted = device.hosted.get(entry.sha256)
    if hosted is not None:
        return parse(hosted)
    if path is None:
        raise BlobMissing(f"weights {entry.name}: neither on disk nor in host memory")
    return map_file(path)


def map_file(path: Path) -> Weights:
    """The tensors of a safetensors file as views of a mapping; Corrupt if its header is
    invalid."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(header_size(file.read(8), size))
    return _views(header, size, lambda: map_bytes(path, size))


def parse(content: Tensor) -> Weights:
    """The tensors of a safetensors file in memory (uint8 [size]) as views; Corrupt if
    the header is invalid."""
    size = content.numel()
    raw = content.numpy()
    count = header_size(raw[:8].tobytes(), size)
    return _views(raw[8 : 8 + count].tobytes(), size, lambda: content)


def _views(header: bytes, size: int, content: Callable[[], Tensor]) -> Weights:
    stored = parse_header(header, size)  # before anything is mapped
    whole = content()
    return Weights({tensor.name: view(whole, tensor) for tensor in stored}, size)


def view(content: Tensor, tensor: StoredTensor) -> Tensor:
    """A tensor over part of `content`. One that is not aligned to its element size is copied:
    writers pad headers to 8 bytes, but the format does not demand it."""
    if tensor.size == 0:
        return torch.empty(tensor.shape, dtype=tensor.dtype)
    raw = content[tensor.start : tensor.start + tensor.size]
    aligned = raw if tensor.start % tensor.dtype.itemsize == 0 else raw.clone()
    return aligned.view(tensor.dtype).view(tensor.shape)
