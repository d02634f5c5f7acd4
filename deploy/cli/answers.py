"""Outputs as a table, as JSON and as a file, with unchanged values."""

from __future__ import annotations

import base64
import math
import zipfile
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np

from deploy.cli.errors import CannotDo, WrongUse
from deploy.cli.output import show
from warmroute import Result
from warmroute.framing import Array

SHOWN_ITEMS = 8
EPILOG = (
    '--json writes NaN and infinities as strings ("NaN", "Infinity", "-Infinity"), and bytes that '
    'are not UTF-8 as {"base64": ...}; --save keeps every value.'
)


def add_save(parser: ArgumentParser) -> None:
    """Declare the option."""
    parser.add_argument("--save", type=Path, metavar="FILE.npz", help="write the outputs there")


def check_save(path: Path | None) -> None:
    """WrongUse if the file cannot be written; called before the model runs."""
    if path is None:
        return
    if path.is_dir():
        raise WrongUse(f"--save {path}: is a folder")
    if not path.absolute().parent.is_dir():
        raise WrongUse(f"--save {path}: there is no folder {path.parent}")


def show_result(options: Namespace, result: Result) -> None:
    """Print the outputs, and write them to the file of --save."""
    rows = [
        [name, str(array.dtype), "x".join(map(str, array.shape)) or "scalar", preview(array)]
        for name, array in result.items()
    ]
    show(options, as_document(result), ["output", "type", "shape", "values"], rows)
    if options.save is not None:
        save(options.save, result)


def save(path: Path, result: Result) -> None:
    """The outputs as one .npz file; BYTES as fixed-width bytes, which need no pickle to read."""
    arrays = {name: _fixed(name, array) for name, array in result.items()}
    try:
        with zipfile.ZipFile(path, "w") as file:
            for name, array in arrays.items():
                with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
    except OSError as error:
        raise CannotDo(f"--save {path}: {error.strerror or error}") from error


def _fixed(name: str, array: Array) -> Array:
    if array.dtype != object:
        return array
    if any(item.endswith(b"\0") for item in array.reshape(-1).tolist()):
        raise CannotDo(f"--save: output {name!r} ends with zero bytes, which an .npz file drops")
    return array.astype(bytes)


def preview(array: Array) -> str:
    """The first values, as they fit on a line."""
    flat = array.reshape(-1)[:SHOWN_ITEMS].tolist()
    words = ", ".join(f"{v:.6g}" if isinstance(v, float) else str(_said(v)) for v in flat)
    return words + (", ..." if array.size > SHOWN_ITEMS else "")


def as_document(result: Result) -> dict[str, Any]:
    """The result with nested lists in place of arrays."""
    return {
        "model": result.model,
        "version": result.version,
        "request_id": result.request_id,
        "worker": result.worker,
        "cold": result.cold,
        "outputs": {name: _plain(array.tolist()) for name, array in result.items()},
    }


def _said(value: Any) -> Any:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    return value
