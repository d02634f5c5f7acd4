"""Packing the formats that stay one file: TorchScript, and a whole `.pt2`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from shared import datatypes
from shared.errors import InvalidInput
from shared.manifest import TensorSpec
from worker.packaging import script_ranges
from worker.packaging.devices import notes_on_devices, notes_on_script
from worker.packaging.program_manifest import describe
from worker.packaging.result import Packed
from worker.runtimes import pytorch_pt2, pytorch_torchscript
from worker.runtimes.failures import of_load
from worker.runtimes.naming import Described
from worker.runtimes.program import LoadedProgram
from worker.runtimes.program_schema import decode
from worker.runtimes.program_tree import flatten_guards, read_trees
from worker.runtimes.pt2_archive import Pt2Archive
from worker.runtimes.script_signature import Place, find_places, read_arguments, returned_count
from worker.runtimes.shape_rules import notes_on_minimum

# Layers that compute something else in training mode.
TRAINED = re.compile("Dropout|BatchNorm|InstanceNorm|RReLU")


def pack_torchscript(
    path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> Packed:
    """Pack a TorchScript archive as it is. It contains the names of its inputs, but not datatypes
    and shapes, so the publisher must give them. LoadFailed if a worker could not open it,
    InvalidInput if forward() does not take these inputs or returns another number of outputs."""
    module = pytorch_torchscript.open_archive(path, torch.device("cpu"))
    arguments = read_arguments(module)
    if not inputs or not outputs:
        takes = ", ".join(f"{one.name} ({one.kind})" for one in arguments)
        raise InvalidInput(
            "a TorchScript archive has no datatypes and shapes: give --input and --output, each "
            f"as NAME:DATATYPE:DIM,DIM,...; forward() takes {takes}"
        )
    places = find_places(arguments, [spec.name for spec in inputs])
    count = returned_count(module)
    if count not in (None, len(outputs)):
        raise InvalidInput(f"outputs: forward() returns {count}, {len(outputs)} are named")
    files = {pytorch_torchscript.MODEL_FILE: path}
    takes_none = [place.key is None and arguments[place.argument].optional for place in places]
    marked = [
        _limited(module, place, msgspec.structs.replace(spec, optional=optional))
        for spec, optional, place in zip(inputs, takes_none, places, strict=True)
    ]
    return Packed("pytorch_torchscript", files, marked, list(outputs), notes=_notes(module))


def _limited(module: Any, place: Place, spec: TensorSpec) -> TensorSpec:
    found = script_ranges.index_ranges(module).get(place.argument) if place.key is None else None
    if found is None or spec.datatype not in datatypes.INTEGERS:
        return spec
    return msgspec.structs.replace(spec, minimum=found[0], maximum=found[1])


def pack_torchscript_file(
    file: Path, scratch: Path, inputs: Sequence[Described], outputs: Sequence[Described]
) -> Packed:
    """`pack_torchscript`, as the table of platforms calls a packer."""
    return pack_torchscript(file, _specs("--input", inputs), _specs("--output", outputs))


def _specs(option: str, described: Sequence[Described]) -> list[TensorSpec]:
    if names := [one for one in described if isinstance(one, str)]:
        raise InvalidInput(f"{option} {names[0]!r}: here its datatype and shape are needed too")
    return [one for one in described if not isinstance(one, str)]


def _notes(module: Any) -> list[str]:
    kinds = {part.original_name for part in module.modules() if getattr(part, "training", False)}
    notes = notes_on_script(module)
    if found := sorted(kind for kind in kinds if TRAINED.search(kind)):
        notes += [f"the archive is in training mode ({', '.join(found)}): it is served as eval()"]
    return notes


def pack_pt2_file(
    file: Path, scratch: Path, inputs: Sequence[Described], outputs: Sequence[Described]
) -> Packed:
    """`pack_whole_pt2`, as the table of platforms calls a packer."""
    return pack_whole_pt2(file, input_names=inputs, output_names=outputs)


def pack_whole_pt2(
    path: Path,
    *,
    input_names: Sequence[Described] | None = None,
    output_names: Sequence[Described] | None = None,
) -> Packed:
    """Pack a torch.export archive as it is, with its example inputs, which are never opened."""
    with of_load(".pt2"):
        archive = Pt2Archive(path)
        raw = archive.program()
        trees = read_trees(raw)
        program = flatten_guards(decode(raw), trees)
        loaded = LoadedProgram(program, torch.device("cpu"), sha256="", size=0)
        loaded.bind(pytorch_pt2.stored(archive))
    inputs, outputs = describe(program, trees, input_names, output_names)
    notes = notes_on_minimum(program, loaded.names) + notes_on_devices(program)
    files = {pytorch_pt2.MODEL_FILE: path}
    return Packed("pytorch_pt2", files, inputs, outputs, notes=notes)
