"""A torch.export archive (`.pt2`), read without torch's loader and without unpickling.

A `.pt2` is a zip of uncompressed members: the graph as JSON, one member per weight and constant as
raw bytes with a JSON table of their types, and example inputs as a pickle. torch's loader unpickles
the latter, and falls back to unrestricted unpickling when the restricted way fails. Here examples
are never opened, and an archive whose weights or constants are pickles is refused.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import torch
from msgspec import Meta, Struct
from torch import Tensor

from shared.errors import Corrupt
from worker.device.hosting import map_bytes
from worker.runtimes import dtypes
from worker.runtimes.safetensors_header import StoredTensor
from worker.runtimes.weights import view

MAX_MEMBERS = 50_000
MAX_TABLE_BYTES = 64 << 20
LOCAL_HEADER = 30
WEIGHTS, CONSTANTS, MODELS = "data/weights/", "data/constants/", "models/"
COMPILED = "data/aotinductor/"

Whole = Annotated[int, Meta(ge=0, le=2**48)]


class _Int(Struct):
    as_int: Whole


class _TensorMeta(Struct):
    dtype: int
    sizes: list[_Int]
    strides: list[_Int]
    storage_offset: _Int


class _Payload(Struct):
    path_name: str
    use_pickle: bool
    tensor_meta: _TensorMeta | None = None


class _Table(Struct):
    config: dict[str, _Payload]


_table = msgspec.json.Decoder(_Table)


class _Member(NamedTuple):
    start: int
    size: int


class Pt2Archive:
    """One archive with one model. All tensors are views of one mapping of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size
        try:
            self._members = _members(path, self.size)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise Corrupt(f".pt2: not a valid zip archive: {error}") from error
        self.model = self._only_model()

    def program(self) -> bytes:
        """The graph, as torch.export wrote it."""
        return self._read(f"{MODELS}{self.model}.json")

    def tensors(self) -> dict[str, Tensor]:
        """Weights and constants by name, mapped; tied ones share memory as they did."""
        content = map_bytes(self._path, self.size)
        found: dict[str, Tensor] = {}
        for folder, kind in ((WEIGHTS, "weights"), (CONSTANTS, "constants")):
            for name, payload in self._table(folder, kind).items():
                found[name] = self._tensor(content, folder, name, payload)
        return found

    def _only_model(self) -> str:
        models = [name for name in self._members if name.startswith(MODELS)]
        if any(name.startswith(COMPILED) for name in self._members):
            raise Corrupt(".pt2: it holds compiled code (AOTInductor), which is not supported")
        if len(models) != 1 or not models[0].endswith(".json"):
            raise Corrupt(f".pt2: it contains {len(models)} exported programs, want one")
        return models[0].removeprefix(MODELS).removesuffix(".json")

    def _table(self, folder: str, kind: str) -> dict[str, _Payload]:
        if f"{folder}{self.model}.pt" in self._members:
            raise Corrupt(f".pt2: its {kind} are a pickle, as older releases of torch wrote it")
        raw = self._read(f"{folder}{self.model}_{kind}_config.json")
        try:
            return _table.decode(raw).config
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Corrupt(f".pt2: the table of {kind} does not parse: {error}") from error

    def _tensor(self, content: Tensor, folder: str, name: str, payload: _Payload) -> Tensor:
        meta = payload.tensor_meta
        if payload.use_pickle or meta is None:
            raise Corrupt(f".pt2: {name!r} is a pickled object, which is never loaded")
        dtype = dtypes.EXPORT.get(meta.dtype)
        if dtype is None:
            raise Corrupt(f".pt2: {name!r} has unknown dtype {meta.dtype}")
        shape, strides = ([n.as_int for n in numbers] for numbers in (meta.sizes, meta.strides))
        first, member = meta.storage_offset.as_int, self._member(folder + payload.path_name)
        if 0 in shape:
            return torch.empty(shape, dtype=dtype)
        last = first + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        count = member.size // dtype.itemsize
        if last >= count:
            raise Corrupt(f".pt2: {name!r} reaches beyond the bytes it has")
        flat = view(content, StoredTensor(name, dtype, (count,), member.start, member.size))
        return flat.as_strided(shape, strides, flat.storage_offset() + first)

    def _read(self, name: str) -> bytes:
        member = self._member(name)
        if member.size > MAX_TABLE_BYTES:
            raise Corrupt(f".pt2: {name} has {member.size} bytes, over {MAX_TABLE_BYTES}")
        with self._path.open("rb") as file:
            file.seek(member.start)
            return file.read(member.size)

    def _member(self, name: str) -> _Member:
        if name not in self._members:
            raise Corrupt(f".pt2: {name[:120]!r} is not in it")
        return self._members[name]


def _members(path: Path, size: int) -> dict[str, _Member]:
    """Where each member's bytes lie, by its name below the archive's one folder."""
    found: dict[str, _Member] = {}
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        if len(infos) > MAX_MEMBERS:
            raise Corrupt(f".pt2: {len(infos)} members, over the limit of {MAX_MEMBERS}")
        for info in infos:
            file.seek(info.header_offset)
            local = file.read(LOCAL_HEADER)
            start = info.header_offset + LOCAL_HEADER
            start += int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
            name = info.filename.partition("/")[2]
            if info.compress_type != zipfile.ZIP_STORED or name in found:
                raise Corrupt(f".pt2: member {info.filename[:120]!r} is compressed or there twice")
            if start + info.file_size > size:
                raise Corrupt(f".pt2: member {info.filename[:120]!r} reaches beyond the file")
            found[name] = _Member(start, info.file_size)
    return found
