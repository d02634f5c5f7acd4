"""`warmroute infer MODEL --input name=value`: one request, from files or from the command line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from deploy.cli.errors import WrongUse
from deploy.cli.output import Subparsers, show
from deploy.client import Client, Result
from deploy.client.tensors import Array

SHOWN_ITEMS = 8


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "infer",
        parents=[gateway],
        help="run a model on inputs from files or the command line",
        epilog="VALUE is JSON ([[1, 2]]), plain text for a BYTES input, or @FILE: .npy is an "
        "array, .json is JSON, anything else is the bytes of one BYTES element.",
    )
    parser.add_argument("model")
    parser.add_argument("--version", type=int, help="default: the latest")
    parser.add_argument(
        "--input", action="append", default=[], metavar="NAME=VALUE", help="once per input"
    )
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds to wait")
    parser.add_argument(
        "--idempotency-key", metavar="KEY", help="ask again under it, and nothing runs twice"
    )
    parser.add_argument("--save", type=Path, metavar="FILE.npz", help="write the outputs there")
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Send the request and print the outputs."""
    inputs = dict(read_input(text) for text in options.input)
    with Client(options.url) as client:
        try:
            result = client.infer(
                options.model, inputs, version=options.version, timeout=options.timeout,
                idempotency_key=options.idempotency_key,
            )  # fmt: skip
        except (TypeError, ValueError) as error:  # a list that has no shape, say
            raise WrongUse(f"inputs: {error}") from error
    if options.save is not None:
        save(options.save, result)
    rows = [
        [name, str(array.dtype), "x".join(map(str, array.shape)) or "scalar", preview(array)]
        for name, array in result.items()
    ]
    show(options, as_document(result), ["output", "type", "shape", "values"], rows)
    return 0


def read_input(text: str) -> tuple[str, Any]:
    """`name=VALUE` as `(name, array or JSON value)`; WrongUse naming what is wrong."""
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise WrongUse(f"--input {text!r}: want NAME=VALUE")
    if value.startswith("@"):
        return name, _read_file(Path(value[1:]))
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, np.array([value.encode()], object)


def _read_file(path: Path) -> Any:
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        raise WrongUse(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if path.suffix != ".json":
        return np.array([raw], object)
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise WrongUse(f"{path}: {error}") from error


def save(path: Path, result: Result) -> None:
    """The outputs as one .npz file; BYTES as fixed-width bytes, which need no pickle to read."""
    arrays = {
        name: array.astype(bytes) if array.dtype == object else array
        for name, array in result.items()
    }
    np.savez(path, allow_pickle=False, **arrays)


def preview(array: Array) -> str:
    """The first values, as they fit on a line."""
    flat = array.reshape(-1)[:SHOWN_ITEMS].tolist()
    words = ", ".join(f"{v:.6g}" if isinstance(v, float) else str(_plain(v)) for v in flat)
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


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value
