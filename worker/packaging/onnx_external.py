"""The further files of an ONNX model: found beside it when it is packed, or refused by name."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

from shared.errors import InvalidInput
from shared.manifest import is_file_name
from worker.packaging import file_stubs

MOST_FILES = 4000  # a manifest takes 4096
ANEW = "save the model anew with its weights in one file beside it, or inside it"


def find(model: Path, external: Mapping[str, int], own_name: str) -> dict[str, Path]:
    """Local paths by name for the locations of `external`, which gives the bytes needed of each.
    InvalidInput for what is missing, cut off, or not below the model's folder; `own_name` is what
    the model itself is called in its version."""
    if len(external) > MOST_FILES:
        raise InvalidInput(
            f"{model.name}: its weights lie in {len(external)} files, at most {MOST_FILES}: {ANEW}"
        )
    found: dict[str, Path] = {}
    for location, size in external.items():
        what = f"{model.name}: its external data {location[:200]!r}"
        name = _name(location, what)
        path = model.parent / name
        if name == own_name or path == model:
            raise InvalidInput(f"{what} has the name of the model itself: {ANEW}")
        _check_there(path, model, what)
        _check_content(path, size, what)
        found[name] = path
    return found


def _name(location: str, what: str) -> str:
    if location.startswith("/") or location[1:3] in (":/", ":\\"):
        raise InvalidInput(
            f"{what} has an absolute path, it must lie in the model's folder: {ANEW}"
        )
    if ".." in location.split("/"):
        raise InvalidInput(f"{what} leads out of the model's folder: {ANEW}")
    name = posixpath.normpath(location)
    if not is_file_name(name):
        raise InvalidInput(f"{what}: no file of a version can be called so: {ANEW}")
    return name


def _check_there(path: Path, model: Path, what: str) -> None:
    """A link may lead to where the model itself lies, as it does in a cache of downloads."""
    if not path.exists():
        kind = "is a link to nothing" if path.is_symlink() else "is missing"
        raise InvalidInput(f"{what} {kind}: it must lie beside the model, in {model.parent}")
    real = path.resolve()
    if not any(
        real.is_relative_to(home) for home in (model.parent.resolve(), model.resolve().parent)
    ):
        raise InvalidInput(f"{what} is a link that leads out of the model's folder: {ANEW}")
    if not path.is_file():
        raise InvalidInput(f"{what} is no file")


def _check_content(path: Path, size: int, what: str) -> None:
    if stub := file_stubs.stub_of(path):
        raise InvalidInput(f"{what} is {stub}")
    held = path.stat().st_size
    if held < size:
        raise InvalidInput(f"{what} holds {held} bytes of {size}: it is cut off, copy it again")
