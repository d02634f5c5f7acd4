"""Exports modules to torch's two archive formats, the same bytes on every machine.

Both are zips of uncompressed members that begin at multiples of 64 bytes, so they can be mapped.
torch adds paths of source files, inputs of the trace and ids; none is needed to run them.
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ALIGNMENT = 64
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LOCAL_HEADER = 30
_EXTRA_HEADER = 4
_PADDING_ID = 0x4246  # the id that torch's own padding has


def write_pt2(
    module: nn.Module, examples: tuple[Tensor, ...], dynamic_shapes: Any, path: Path
) -> None:
    """Export `module` as `examples` and torch.export's `dynamic_shapes` show it, to a `.pt2`.

    It holds no example inputs: torch would unpickle them.
    """
    with torch.no_grad():
        exported = torch.export.export(module.eval(), examples, dynamic_shapes=dynamic_shapes)
    exported.example_inputs = None
    for node in exported.graph.nodes:
        # Paths of this machine's source files.
        node.meta.pop("stack_trace", None)
    saved = io.BytesIO()
    torch.export.save(exported, saved)
    rewrite(saved, path, lambda member: not member.endswith("serialization_id"))


def write_torchscript(module: nn.Module, examples: tuple[Tensor, ...], path: Path) -> None:
    """Trace `module` on `examples` and write the TorchScript archive to `path`."""
    traced = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # Deprecated in favour of torch.export; here it is one of the formats to be shown.
        warnings.simplefilter("ignore", DeprecationWarning)
        # An LSTM compares its input's width with its own, and that is fixed.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        torch.jit.save(torch.jit.trace(module.eval(), examples), traced)  # type: ignore[no-untyped-call]
    rewrite(traced, path, _needed)


def rewrite(full: io.BytesIO, path: Path, keep: Callable[[str], bool]) -> None:
    """Write to `path` those members of the archive `full` whose names `keep` accepts."""
    with zipfile.ZipFile(full) as source, path.open("wb") as file:
        with zipfile.ZipFile(file, "w") as lean:
            for name in filter(keep, source.namelist()):
                info = zipfile.ZipInfo(name, _EPOCH)
                info.extra = _padding(file.tell() + _LOCAL_HEADER + len(name.encode()))
                lean.writestr(info, source.read(name))


def _padding(end_of_name: int) -> bytes:
    """An extra field that ends where the member's bytes may begin."""
    fill = -(end_of_name + _EXTRA_HEADER) % ALIGNMENT
    return struct.pack("<HH", _PADDING_ID, fill) + bytes(fill)


def _needed(member: str) -> bool:
    left_out = (".debug_pkl", "traced_inputs.pkl", "serialization_id")
    return not member.endswith(left_out) and "/traced_inputs/" not in member
