"""Where onnxruntime finds a model and its further files: a folder of its own, for one opening.

An ONNX model names the files with its weights by paths below its folder, and onnxruntime opens no
other. The blob cache knows files by their hash, so hard links with the right names are made beside
it: links of the other kind lead out of the folder, which onnxruntime refuses. An open session
needs none of the names, so the folder goes when it is open.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.repository.disk import disk_errors

LEFT_AFTER_S = 3600.0  # a folder of that age belongs to a process that was killed


@contextmanager
def laid_out(files: Mapping[str, Path], near: Path, *, copied: bool = False) -> Iterator[Path]:
    """A new folder below `near` in which the blobs `files` have their names. `near` is made, and is
    to be on the blobs' file system: else they are copied, as they are if it is asked for.
    RepositoryError if the disk does not take it."""
    with disk_errors("folder for an ONNX model"):
        near.mkdir(mode=0o700, exist_ok=True)
        _remove_leftovers(near)
        folder = Path(tempfile.mkdtemp(dir=near))
    try:
        with disk_errors("folder for an ONNX model"):
            for name, blob in files.items():
                _place(blob, folder / name, copied)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(blob: Path, target: Path, copied: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not copied:
        with suppress(OSError):  # another file system, or one without links
            os.link(blob, target)
            return
    shutil.copyfile(blob, target)


def _remove_leftovers(near: Path) -> None:
    for folder in near.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > LEFT_AFTER_S:
                shutil.rmtree(folder, ignore_errors=True)
