"""Packing a torch.export graph: program.json and weights, without anything to unpickle.

What a worker would refuse is refused here, with the same error: the packed model is loaded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor

from shared.errors import Corrupt
from worker.packaging.devices import notes_on_devices
from worker.packaging.program_manifest import Packed, describe
from worker.packaging.weight_files import split_weights, take_aliases
from worker.runtimes.canonical import encode, to_stored
from worker.runtimes.failures import of_load
from worker.runtimes.naming import Described
from worker.runtimes.program import LoadedProgram
from worker.runtimes.program_schema import PROGRAM_FILE, Program, decode
from worker.runtimes.program_tree import Path as TreePath
from worker.runtimes.program_tree import Trees, flatten_guards, read_trees
from worker.runtimes.pt2_archive import Pt2Archive
from worker.runtimes.shape_rules import notes_on_minimum
from worker.runtimes.torch_model import Forward
from worker.runtimes.weights import ALIAS


class Draft(NamedTuple):
    """A program read from an archive, ready to run: its weights in the order of their memory, and
    those that are tied to another, by the manifest's parameter."""

    program: Program
    trees: Trees
    loaded: LoadedProgram
    stored: dict[str, Tensor]
    aliases: dict[str, str]

    def bind(self) -> Forward:
        """The graph with its weights."""
        tied = {name.removeprefix(ALIAS): self.stored[it] for name, it in self.aliases.items()}
        return self.loaded.bind({**self.stored, **tied})

    def with_program(self, program: Program) -> Draft:
        """This draft with other shape rules."""
        return self._replace(program=program, loaded=_load(program))

    def with_outputs(self, paths: list[TreePath]) -> Draft:
        """This draft with other names for its outputs."""
        return self._replace(trees=msgspec.structs.replace(self.trees, outputs=paths))


def pack_pt2(
    path: Path,
    out_dir: Path,
    *,
    input_names: Sequence[Described] | None = None,
    output_names: Sequence[Described] | None = None,
) -> Packed:
    """Pack a torch.export archive as platform `pytorch_program`. Corrupt if it contains pickled
    tensors, state that changes, or operators that are not supported. Its example inputs are left
    out, unread."""
    return write(read(path), out_dir, input_names, output_names)


def pack_file(
    file: Path, scratch: Path, inputs: Sequence[Described], outputs: Sequence[Described]
) -> Packed:
    """`pack_pt2`, as the table of platforms calls a packer."""
    return pack_pt2(file, scratch, input_names=inputs, output_names=outputs)


def read(path: Path) -> Draft:
    """The program and weights of a torch.export archive, loaded once."""
    with of_load(".pt2"):
        archive = Pt2Archive(path)
        raw = archive.program()
        trees = read_trees(raw)
        program = flatten_guards(decode(raw), trees)
        loaded = _load(program)
        kept, aliases = take_aliases(_weights(archive.tensors(), loaded))
        stored = {name: to_stored(tensor, tensor.stride()) for name, tensor in kept.items()}
        draft = Draft(program, trees, loaded, stored, aliases)
        draft.bind()
        return draft


def write(
    draft: Draft,
    out_dir: Path,
    input_names: Sequence[Described] | None,
    output_names: Sequence[Described] | None,
) -> Packed:
    """Write the files of the draft under `out_dir`; what its manifest says, under the given
    names."""
    inputs, outputs = describe(draft.program, draft.trees, input_names, output_names)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / PROGRAM_FILE).write_bytes(encode(draft.program))
    files = {PROGRAM_FILE: out_dir / PROGRAM_FILE, **split_weights(draft.stored, out_dir)}
    notes = notes_on_minimum(draft.program, draft.loaded.names) + notes_on_devices(draft.program)
    return Packed("pytorch_program", files, inputs, outputs, dict(draft.aliases), notes)


def _load(program: Program) -> LoadedProgram:
    return LoadedProgram(program, torch.device("cpu"), sha256="", size=0)


def _weights(tensors: dict[str, Tensor], loaded: LoadedProgram) -> dict[str, Tensor]:
    """The tensors that the program takes; others in the archive are not needed."""
    missing = [slot.weight for slot in loaded.slots if slot.weight not in tensors]
    if missing:
        raise Corrupt(f".pt2: it does not contain tensor {missing[0]!r}")
    return {slot.weight: tensors[slot.weight] for slot in loaded.slots}
