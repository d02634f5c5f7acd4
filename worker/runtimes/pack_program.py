"""Packing a torch.export graph: program.json and weights, without anything to unpickle.

What a worker would refuse is refused here, in the same words: the packed model is loaded once.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from shared.errors import Corrupt, InvalidInput
from worker.runtimes.failures import of_load, summary
from worker.runtimes.layout import to_stored
from worker.runtimes.packed import Packed, describe
from worker.runtimes.program import LoadedProgram
from worker.runtimes.program_canonical import encode
from worker.runtimes.program_schema import PROGRAM_FILE, decode
from worker.runtimes.pt2_archive import Pt2Archive
from worker.runtimes.sharding import split_weights, take_aliases
from worker.runtimes.tensors import ALIAS
from worker.runtimes.torch_model import Forward


def pack_pt2(
    path: Path,
    out_dir: Path,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Packed:
    """A torch.export archive as platform `pytorch_program`. Corrupt if it holds pickled tensors,
    state that changes, or operators that are not offered. Its example inputs are left out, unread.
    """
    return _pack(path, out_dir, input_names, output_names)[0]


def pack_module(
    module: nn.Module,
    state_dict: Mapping[str, Tensor] | None,
    example_inputs: Sequence[Any],
    dynamic_shapes: Any,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
    out_dir: Path,
) -> Packed:
    """Export `module` with `state_dict` (None: its own) as platform `pytorch_program`.

    The packed model answers the example once, and must answer as the module does; InvalidInput if
    not, or if torch cannot export it. `dynamic_shapes` is torch.export's.
    """
    if state_dict is not None:
        module.load_state_dict(dict(state_dict))
    module.eval()
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "model.pt2"
        _export(module, tuple(example_inputs), dynamic_shapes, archive)
        packed, forward = _pack(archive, out_dir, input_names, output_names)
    _prove(module, forward, tuple(example_inputs))
    return packed


def _pack(
    path: Path,
    out_dir: Path,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
) -> tuple[Packed, Forward]:
    with of_load(".pt2"):
        archive = Pt2Archive(path)
        program = decode(archive.program())
        raw = encode(program)
        loaded = LoadedProgram(program, torch.device("cpu"), sha256="", size=len(raw))
        inputs, outputs = describe(program, input_names, output_names)
        kept, aliases = take_aliases(_weights(archive.tensors(), loaded))
        stored = {name: to_stored(tensor, tensor.stride()) for name, tensor in kept.items()}
        tied = {name.removeprefix(ALIAS): stored[other] for name, other in aliases.items()}
        forward = loaded.bind({**stored, **tied})
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / PROGRAM_FILE).write_bytes(raw)
    files = {PROGRAM_FILE: out_dir / PROGRAM_FILE, **split_weights(stored, out_dir)}
    return Packed("pytorch_program", files, inputs, outputs, dict(aliases)), forward


def _weights(tensors: Mapping[str, Tensor], loaded: LoadedProgram) -> dict[str, Tensor]:
    """The tensors that the program takes; others in the archive are not needed."""
    missing = [slot.weight for slot in loaded.slots if slot.weight not in tensors]
    if missing:
        raise Corrupt(f".pt2: tensor {missing[0]!r} is not in it")
    return {slot.weight: tensors[slot.weight] for slot in loaded.slots}


def _export(module: nn.Module, example: tuple[Any, ...], dynamic_shapes: Any, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the module's code, which is its author's
            exported = torch.export.export(module, example, dynamic_shapes=dynamic_shapes)
            torch.export.save(exported, path)
    except Exception as error:  # torch documents no set of exceptions
        raise InvalidInput(f"torch.export refuses the module: {summary(error)}") from error


def _prove(module: nn.Module, forward: Forward, example: tuple[Any, ...]) -> None:
    given = [leaf for leaf in pytree.tree_leaves(example) if isinstance(leaf, Tensor)]
    with torch.inference_mode():
        got = forward([tensor.clone() for tensor in given])
        want = pytree.tree_leaves(module(*example))
    try:
        torch.testing.assert_close(list(got), want, equal_nan=True)
    except AssertionError as error:
        raise InvalidInput(
            f"the packed model does not answer as the module does: {summary(error)}"
        ) from error
