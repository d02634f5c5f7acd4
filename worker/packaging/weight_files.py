"""Weights as publishers have them: one safetensors file, or the index of several.

Tensors that were tied when they were saved stand in a file once. Which others they are is in the
file's metadata (`save_model` of safetensors writes it), and is filled in here.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct
from safetensors import SafetensorError, safe_open
from torch import Tensor

from shared.errors import Corrupt, InvalidInput
from worker.runtimes.naming import listed

INDEX = ".index.json"
MAX_INDEX_BYTES = 64 << 20
FOUND_IN_FOLDER = ("model.safetensors.index.json", "model.safetensors")


class _Index(Struct):
    weight_map: dict[str, str]


_index = msgspec.json.Decoder(_Index)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, of all files of an index (`model.safetensors.index.json`),
    or of the folder that holds either. Corrupt if one is none, InvalidInput if it is not there.
    """
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
        raise Corrupt(f"{path.name}: no index of safetensors files: {error}") from error
    except OSError as error:
        raise InvalidInput(f"{path.name}: {error.strerror or error}") from error
    if outside := [name for name in index.weight_map.values() if Path(name).name != name]:
        raise InvalidInput(f"{path.name}: {outside[0][:80]!r} is no file beside it")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(index.weight_map.values())):
        tensors |= _read_file(path.with_name(name))
    if missing := sorted(index.weight_map.keys() - tensors.keys()):
        raise Corrupt(f"{path.name}: {listed(missing)} in none of its files")
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
