"""Inputs as they are written on the command line: `NAME=VALUE`, read as the model's datatype says.

Text that looks like JSON and JSON that is none are told apart by what the model takes: for BYTES a
VALUE is the text itself (a JSON list of strings is several), for numbers it must be JSON.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deploy.cli.errors import WrongUse
from deploy.cli.json_values import NoJson, parse
from shared import datatypes

EPILOG = (
    "VALUE of an input of numbers is JSON ([[1, 2.5]]; NaN, Infinity and -Infinity are numbers, "
    "too); of a BYTES input it is the text as it stands, or a JSON list of strings. NAME:=VALUE is "
    "JSON whatever the input, so that text may begin with @ or [. VALUE @FILE is a file, @- "
    "standard input: .npy an array, .npz the array of that name, .json JSON; anything else is "
    "JSON, or the one element of a BYTES input."
)
ARRAYS = (".npy", ".npz")
STDIN = "-"


class Given(NamedTuple):
    """One input as it was written; `as_json`: by `:=`."""

    name: str
    value: str
    as_json: bool

    @property
    def file(self) -> str | None:
        """The file that it names, if any."""
        return self.value[1:] if self.value.startswith("@") and not self.as_json else None


def add_inputs(parser: ArgumentParser) -> None:
    """Declare both ways to name them."""
    parser.add_argument(
        "inputs", nargs="*", default=[], metavar="NAME=VALUE", help="once per input"
    )
    parser.add_argument(
        "--input", action="append", default=[], metavar="NAME=VALUE", help="the same"
    )


def split(text: str) -> Given:
    """`NAME=VALUE` or `NAME:=VALUE`; WrongUse if it is neither."""
    name, sign, value = text.partition("=")
    as_json = name.endswith(":")
    name = name.removesuffix(":")
    if not name or not sign:
        raise WrongUse(f"input {text!r:.80}: want NAME=VALUE")
    return Given(name, value, as_json)


def read_inputs(texts: Sequence[str], described: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name, for a model as its metadata describes it; WrongUse names what is wrong."""
    specs = {spec["name"]: spec for spec in described["inputs"]}
    given = [split(text) for text in texts]
    if specs and not given:
        wanted = "; ".join(f"{n}, {s['datatype']} {s.get('shape')}" for n, s in specs.items())
        raise WrongUse(f"{described.get('name', 'the model')} wants NAME=VALUE for: {wanted}")
    names = [one.name for one in given]
    if len(set(names)) < len(names):
        raise WrongUse("an input may be given once")
    if [one.file for one in given].count(STDIN) > 1:
        raise WrongUse("standard input can be read once")
    for name in names:
        if name not in specs:
            raise WrongUse(f"input {name!r}: there is none, the model has {sorted(specs)}")
    return {one.name: _read(one, specs[one.name]) for one in given}


def _read(given: Given, spec: Mapping[str, Any]) -> Any:
    """An array or nested lists; the client knows which of these the datatype can hold."""
    path, datatype = given.file, spec["datatype"]
    if path is None:
        if datatype == datatypes.BYTES and not given.as_json:
            return _text(given.value, spec)
        return _json(given.name, given.value, datatype)
    if path.endswith(ARRAYS):
        return _array(Path(path), given.name)
    raw = _bytes(path)
    if datatype == datatypes.BYTES and not path.endswith(".json"):
        return _one(raw, spec)
    try:
        return _json(path, raw.decode("utf-8-sig"), datatype)
    except UnicodeDecodeError:
        raise WrongUse(f"{path}: no UTF-8 text, and the model wants {datatype} as JSON") from None


def _json(where: str, text: str, datatype: str) -> Any:
    try:
        return parse(text, datatype)
    except NoJson as error:
        shown = text if len(text) <= 40 else text[:40] + "..."
        raise WrongUse(f"input {where}: {shown!r} {error}; the model wants {datatype}") from None


def _text(value: str, spec: Mapping[str, Any]) -> Any:
    """The text, or the strings of a JSON list of nothing else."""
    if value.lstrip().startswith("["):
        try:
            listed = parse(value, datatypes.BYTES)
        except NoJson:
            listed = None
        if isinstance(listed, list) and _only_text(listed):
            return listed
    return _one(os.fsencode(value), spec)


def _only_text(value: Any) -> bool:
    if isinstance(value, list):
        return all(_only_text(part) for part in value)
    return isinstance(value, str)


def _one(raw: bytes, spec: Mapping[str, Any]) -> Any:
    """One element, in as many dimensions as the model has."""
    array = np.empty(1, object)
    array[0] = raw
    return array.reshape([1] * len(spec.get("shape", [1])))


def _bytes(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise WrongUse(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _array(path: Path, name: str) -> Any:
    """Of a file of numpy's. Its reader raises whatever a damaged file makes it trip over."""
    names = list[str]()
    try:
        with path.open("rb") as file:  # numpy itself forgets to close one that is damaged
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return found
            names = list(found)
            return found[name if name in names or len(names) != 1 else names[0]]
    except KeyError:
        raise WrongUse(f"{path}: has no array {name!r}, it has {names}") from None
    except OSError as error:
        raise WrongUse(f"{path}: {error.strerror or error}") from error
    except Exception as error:
        raise WrongUse(f"{path}: no file of numpy's: {error}") from error
