"""Writes zip archives that are the same on every machine and can be mapped.

Both of torch's archive formats are zips of uncompressed members that begin at multiples of 64
bytes. torch adds paths of source files, inputs of the trace and ids; none is needed to run them.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

ALIGNMENT = 64
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LOCAL_HEADER = 30
_EXTRA_HEADER = 4
_PADDING_ID = 0x4246  # the id that torch's own padding has


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
