"""Platform `pytorch_pt2`: a whole torch.export archive, `model.pt2`.

It is served as a program and its weights are: the graph is shared with every model that has the
same one, the weights are mapped from the archive. Example inputs in it are never opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from shared.manifest import Manifest
from worker.device.base import Device
from worker.runtimes.canonical import encode, to_stored
from worker.runtimes.program import LoadedProgram
from worker.runtimes.program_schema import decode
from worker.runtimes.program_tree import flatten_guards, read_trees
from worker.runtimes.pt2_archive import Pt2Archive
from worker.runtimes.pytorch_program import shared_program
from worker.runtimes.torch_model import TorchModel
from worker.runtimes.weights import HEAP_PER_TENSOR, Weights

MODEL_FILE = "model.pt2"


def load(manifest: Manifest, files: Mapping[str, Path], device: Device) -> TorchModel:
    """Load the archive; Corrupt if it is unsound, holds pickled tensors, or compiled code."""
    entry, path = manifest.file(MODEL_FILE), files[MODEL_FILE]
    archive = Pt2Archive(path)
    program = _program(archive.program(), device)
    inputs = program.check_manifest(manifest)
    weights = device.shared.get(f"blob:{entry.sha256}", lambda: _place(archive, device))
    return TorchModel(
        manifest,
        device,
        program.bind(weights.tensors),
        inputs=inputs,
        bytes_resident=device.heap_bytes(HEAP_PER_TENSOR * len(weights.tensors)),
        shared={
            entry.sha256: entry.size,
            program.sha256: device.heap_bytes(program.heap_bytes),
        },
        holds=(program, weights),
        shapes_near=program.shapes_near,
    )


def _program(raw: bytes, device: Device) -> LoadedProgram:
    """The archive's graph. Keyed by its raw bytes, which are quick to hash, and by its canonical
    bytes, under which a model pushed as a program finds it."""

    def make() -> LoadedProgram:
        canonical = encode(flatten_guards(decode(raw), read_trees(raw)))
        return shared_program(hashlib.sha256(canonical).hexdigest(), lambda: canonical, device)

    key = f"archived:{hashlib.sha256(raw).hexdigest()}"
    return device.shared.get(key, make, keep=True)


def stored(archive: Pt2Archive) -> dict[str, Tensor]:
    """The archive's tensors in the order of their memory, as a program expects them."""
    return {name: to_stored(t, t.stride()) for name, t in archive.tensors().items()}


def _place(archive: Pt2Archive, device: Device) -> Weights:
    return Weights(device.place_all(stored(archive)), archive.size)
