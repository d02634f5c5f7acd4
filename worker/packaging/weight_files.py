"""Weights as files: read as publishers have them, and written as files that variants can share.

Publishers have one safetensors file, or the index of several. Tensors that were tied when they were
saved are in a file once; the file's metadata names the others (`save_model` of safetensors writes
it), and they are filled in here.

Written are tensors of 1 MiB and more in a file each, the rest together. The bytes of a file depend
on the names and values of its tensors alone, so what two fine-tunes have in common has one hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from shared.errors import Corrupt, InvalidInput
from shared.footprint import WEIGHTS
from worker.runtimes import dtypes
from worker.runtimes.naming import listed
from worker.runtimes.weights import ALIAS

INDEX = ".index.json"
MAX_INDEX_BYTES = 64 << 20
FOUND_IN_FOLDER = ("model.safetensors.index.json", "model.safetensors")


class _Index(Struct):
    weight_map: dict[str, str]


_index = msgspec.json.Decoder(_Index)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, of all files of an index (`model.safetensors.index.json`),
    or of the folder that holds either. Corrupt if one is not valid, InvalidInput if it is
    missing."""
    if path.is_dir():
        path = _in_folder(path)
    return _read_index(path) if path.name.endswith(INDEX) else _read_file(path)


def _in_folder(folder: Path) -> Path:
    for name in FOUND_IN_FOLDER:
        if (folder / name).is_file():
            return folder / name
    raise InvalidInput(f"{folder.name}: a folder without {' or '.join(FOUND_IN_FOLDER)}")


def _read_index(path: Path) -> dict[str, Tensor]:
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise Corrupt(f"{path.name}: over {MAX_INDEX_BYTES} bytes")
        index = _index.decode(path.read_bytes())
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{path.name}: not an index of safetensors files: {error}") from error
    except OSError as error:
        raise InvalidInput(f"{path.name}: {error.strerror or error}") from error
    if outside := [name for name in index.weight_map.values() if Path(name).name != name]:
        raise InvalidInput(f"{path.name}: {outside[0][:80]!r} is not the name of a file beside it")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(index.weight_map.values())):
        tensors |= _read_file(path.with_name(name))
    if missing := sorted(index.weight_map.keys() - tensors.keys()):
        raise Corrupt(f"{path.name}: none of its files contains {listed(missing)}")
    return tensors


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise Corrupt(f"{path.name}: {error}") from error
    except OSError as error:
        raise InvalidInput(f"{path.name}: {error.strerror or error}") from error
    tied = {name: tensors[other] for name, other in metadata.items() if other in tensors}
    return {**tied, **tensors}


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
    """Split off tensors that share their memory with another (tied weights): the rest, and the
    parameters of the manifest that name them (`alias.<name>`: the other's name)."""
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
