"""Platform `pytorch_program`: a torch.export graph as JSON, and weights as safetensors.

The published files contain no pickle, and nothing of them is unpickled or evaluated here (see
`program_graph`). Attaching a further set of weights to a loaded program takes milliseconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from shared.errors import Corrupt
from shared.manifest import Manifest
from worker.device.base import Device
from worker.runtimes.failures import of_load
from worker.runtimes.program import LoadedProgram
from worker.runtimes.program_schema import PROGRAM_FILE, decode
from worker.runtimes.torch_model import TorchModel
from worker.runtimes.weights import attach


def load(manifest: Manifest, files: Mapping[str, Path], device: Device) -> TorchModel:
    """Attach the manifest's weights to its program, which is read if it is not loaded yet."""
    sha256 = manifest.file(PROGRAM_FILE).sha256
    program = shared_program(sha256, files[PROGRAM_FILE].read_bytes, device)
    inputs = program.check_manifest(manifest)
    attached = attach(manifest, files, device)
    return TorchModel(
        manifest,
        device,
        program.bind(attached.tensors),
        inputs=inputs,
        bytes_resident=attached.overhead_bytes,
        shared={**attached.shared, sha256: device.heap_bytes(program.heap_bytes)},
        holds=(program, attached),
        shapes_near=program.shapes_near,
    )


def shared_program(sha256: str, read: Callable[[], bytes], device: Device) -> LoadedProgram:
    """The program of this hash, shared on the device; Corrupt if `read` gives another."""

    def make() -> LoadedProgram:
        raw = read()
        # Trust may rest on this hash alone, so it is checked at the point of use.
        if hashlib.sha256(raw).hexdigest() != sha256:
            raise Corrupt("program: the file is not the one that the manifest names")
        with of_load("program"):
            return LoadedProgram(decode(raw), device.torch_device, sha256, len(raw))

    return device.shared.get(f"program:{sha256}", make, keep=True)
