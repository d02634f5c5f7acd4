"""Inputs as they are written on the command line: `NAME=VALUE`, read as the model's datatype says.

For a BYTES input, VALUE is the text itself, or a JSON list of strings. For an input of numbers,
VALUE must be JSON. So text that looks like JSON and broken JSON are never confused.
"""

from __future__ import annotations

import json
import math
import os
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deploy.cli.errors import WrongUse
from shared import datatypes
from warmroute.datatypes import INTEGERS

EPILOG = (
    "For an input of numbers, VALUE is JSON: [[1, 2.5]], with NaN, Infinity and -Infinity. For a "
    "BYTES input, VALUE is plain text, or a JSON list of strings. NAME:=VALUE is always JSON, so "
    "text may begin with @ or [. @FILE reads a file and @- standard input: .npy is an array, .npz "
    "the array of that name, .json is JSON. Other files are JSON, or one element of a BYTES input."
)
ARRAYS = (".npy", ".npz")
STDIN = "-"
LONGEST = 4000  # digits of one number
MOST_DIGITS = 40  # of a whole number written with a point or an exponent


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
        required = "; ".join(f"{n}, {s['datatype']} {s.get('shape')}" for n, s in specs.items())
        raise WrongUse(f"{described.get('name', 'the model')} needs NAME=VALUE for: {required}")
    names = [one.name for one in given]
    if len(set(names)) < len(names):
        raise WrongUse("an input is given twice")
    if [one.file for one in given].count(STDIN) > 1:
        raise WrongUse("@- is given twice: standard input can be read once")
    for name in names:
        if name not in specs:
            raise WrongUse(f"the model has no input {name!r}, it has {sorted(specs)}")
    return {one.name: _read(one, specs[one.name]) for one in given}


def _read(given: Given, spec: Mapping[str, Any]) -> Any:
    """An array or nested lists; the client checks that the datatype can hold them."""
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
        raise WrongUse(f"{path}: not UTF-8 text; the model needs {datatype} as JSON") from None


def _json(where: str, text: str, datatype: str) -> Any:
    try:
        return parse(text, datatype)
    except NoJson as error:
        shown = text if len(text) <= 40 else text[:40] + "..."
        raise WrongUse(f"input {where}: {shown!r} {error}; the model needs {datatype}") from None


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
    """The array of a numpy file; numpy raises many kinds of errors on damaged files."""
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
        raise WrongUse(f"{path}: not a numpy file: {error}") from error


class NoJson(ValueError):
    """The text is not JSON, or has numbers that cannot be kept. The message follows the text."""


def parse(text: str, datatype: str) -> Any:
    """Nested lists of numbers, strings, true, false and null. NaN and Infinity count as numbers,
    because they can be sent; 1e400 does not. NoJson says what is wrong."""
    whole = datatype in INTEGERS
    try:
        return json.loads(text, parse_float=_whole if whole else _float, parse_int=_int)
    except NoJson:
        raise
    except json.JSONDecodeError as error:
        raise NoJson(f"is not JSON ({error.msg}, at character {error.pos})") from None
    except RecursionError:
        raise NoJson("is nested too deeply") from None


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise NoJson(f"has {text:.40}, which a float cannot hold")
    return value


def _int(text: str) -> int:
    if len(text) > LONGEST:
        raise NoJson("has a number of thousands of digits")
    return int(text)


def _whole(text: str) -> int | float:
    """For an input of integers: `1e3` and `9007199254740993.0` are whole numbers, read exactly."""
    number = Decimal(text)
    if number.adjusted() < MOST_DIGITS and number == number.to_integral_value():
        return int(number)
    return _float(text)
