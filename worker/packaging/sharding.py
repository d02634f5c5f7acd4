"""Weights as files that variants can share: large tensors each on their own.

Tensors of 1 MiB and more get a safetensors file each, the rest one together. A file's bytes depend
on the names and values of its tensors alone, so what two fine-tunes have in common has one hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from shared.errors import InvalidInput
from worker.runtimes import dtypes
from worker.runtimes.weights import ALIAS, WEIGHTS

OWN_FILE_BYTES = 1 << 20
MAX_FILES = 4000  # a manifest holds 4096
SMALL = f"{WEIGHTS}small.safetensors"


def split_weights(state_dict: Mapping[str, Tensor], out_dir: Path) -> dict[str, Path]:
    """Write `state_dict` under `out_dir`; the files by their manifest names (`weights/...`).

    The same names and values give the same bytes, whatever model they belong to. InvalidInput if a
    tensor cannot be stored. Tied tensors must be taken out first (`take_aliases`).
    """
    for name, tensor in state_dict.items():
        if tensor.dtype not in dtypes.SAFETENSORS.values():
            raise InvalidInput(f"tensor {name!r}: safetensors has no {tensor.dtype}")
    large = {name: t for name, t in state_dict.items() if t.nbytes >= OWN_FILE_BYTES}
    if len(large) > MAX_FILES:
        raise InvalidInput(
            f"{len(large)} tensors of 1 MiB or more, at most {MAX_FILES} can be stored"
        )
    groups = {file_name(name): {name: tensor} for name, tensor in sorted(large.items())}
    if small := {name: t for name, t in sorted(state_dict.items()) if name not in large}:
        groups[SMALL] = small
    return {file: _write(out_dir / file, tensors) for file, tensors in groups.items()}


def take_aliases(
    state_dict: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Split off tensors that are the very same memory as another (tied weights): the rest, and the
    manifest's parameters that name them (`alias.<name>`: the other's name).
    """
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    seen: dict[object, str] = {}
    for name, tensor in sorted(state_dict.items()):
        identity = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and (other := seen.setdefault(identity, name)) != name:
            aliases[ALIAS + name] = other
        else:
            kept[name] = tensor
    return kept, aliases


def file_name(tensor: str) -> str:
    """The manifest's name for the file of one tensor: readable, and never that of another."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", tensor).strip("-._")[:80]
    digest = hashlib.sha256(tensor.encode()).hexdigest()[:8]
    return f"{WEIGHTS}{readable.replace('..', '.') or 'tensor'}-{digest}.safetensors"


def _write(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Cloned: views of one storage are refused by the library, and a mapped one may be the target.
    save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, path)
    return path
