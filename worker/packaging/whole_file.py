"""Packing formats that stay one file: TorchScript, and `.pt2` as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from shared.errors import InvalidInput
from shared.manifest import TensorSpec
from worker.packaging.program_manifest import describe
from worker.packaging.result import Packed
from worker.runtimes import pytorch_pt2, pytorch_torchscript
from worker.runtimes.failures import of_load
from worker.runtimes.naming import Said
from worker.runtimes.program import LoadedProgram
from worker.runtimes.program_schema import decode
from worker.runtimes.program_tree import flatten_guards, read_trees
from worker.runtimes.pt2_archive import Pt2Archive
from worker.runtimes.script_signature import find_places, read_arguments, returned_count
from worker.runtimes.shape_rules import notes_on_minimum

# Layers that answer otherwise in training mode.
TRAINED = re.compile("Dropout|BatchNorm|InstanceNorm|RReLU")


def pack_torchscript(
    path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> Packed:
    """A TorchScript archive as it is. It says the names of what it takes, and not datatypes and
    shapes, so the publisher must. LoadFailed if a worker could not open it, InvalidInput if
    forward() does not take these inputs or returns another number of outputs.
    """
    module = pytorch_torchscript.open_archive(path, torch.device("cpu"))
    arguments = read_arguments(module)
    if not inputs or not outputs:
        takes = ", ".join(f"{one.name} ({one.kind})" for one in arguments)
        raise InvalidInput(
            "TorchScript does not say datatypes and shapes: --input and --output are needed, each "
            f"as NAME:DATATYPE:DIM,DIM,...; forward() takes {takes}"
        )
    places = find_places(arguments, [spec.name for spec in inputs])
    count = returned_count(module)
    if count not in (None, len(outputs)):
        raise InvalidInput(f"outputs: forward() returns {count}, {len(outputs)} are named")
    files = {pytorch_torchscript.MODEL_FILE: path}
    takes_none = [place.key is None and arguments[place.argument].optional for place in places]
    marked = [
        msgspec.structs.replace(spec, optional=optional)
        for spec, optional in zip(inputs, takes_none, strict=True)
    ]
    return Packed("pytorch_torchscript", files, marked, list(outputs), notes=_notes(module))


def _notes(module: Any) -> list[str]:
    kinds = {part.original_name for part in module.modules() if getattr(part, "training", False)}
    if found := sorted(kind for kind in kinds if TRAINED.search(kind)):
        return [f"the archive is in training mode ({', '.join(found)}): it is served as eval()"]
    return []


def pack_whole_pt2(
    path: Path,
    *,
    input_names: Sequence[Said] | None = None,
    output_names: Sequence[Said] | None = None,
) -> Packed:
    """A torch.export archive as it is, its example inputs included, which are never opened."""
    with of_load(".pt2"):
        archive = Pt2Archive(path)
        raw = archive.program()
        trees = read_trees(raw)
        program = flatten_guards(decode(raw), trees)
        loaded = LoadedProgram(program, torch.device("cpu"), sha256="", size=0)
        loaded.bind(pytorch_pt2.stored(archive))
    inputs, outputs = describe(program, trees, input_names, output_names)
    notes = notes_on_minimum(program, loaded.names)
    files = {pytorch_pt2.MODEL_FILE: path}
    return Packed("pytorch_pt2", files, inputs, outputs, notes=notes)
