"""Python's own values (numbers, text, nested lists of them) as tensors.

numpy does not interpret the lists, because it truncates, rounds and converts numbers to text
silently.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from warmroute import datatypes
from warmroute.datatypes import FLOATS
from warmroute.errors import InvalidInput
from warmroute.exact import WireTensor, range_of, refuse, rounded, widened
from warmroute.framing import Array

LISTS = (list, tuple, range)
WHOLES = (int, np.integer)
MOST_DIMENSIONS = 32
TEXT, TRUTH, WHOLE, REAL = "text", "a truth value", "a whole number", "a number"
_FORMS = {"BYTES": TEXT, "BOOL": TRUTH}


def flatten(name: str, value: Any) -> tuple[list[Any], list[int]]:
    """The elements of nested lists in row-major order, and the shape; InvalidInput if ragged."""
    level, shape = [value], list[int]()
    while level and all(issubclass(kind, LISTS) for kind in set(map(type, level))):
        lengths = set(map(len, level))
        if len(lengths) > 1:
            raise _ragged(name, f"lists of {min(lengths)} and {max(lengths)} elements")
        shape.append(lengths.pop())
        if len(shape) > MOST_DIMENSIONS:
            raise InvalidInput(f"input {name!r}: more than {MOST_DIMENSIONS} dimensions")
        level = list(chain.from_iterable(level))
    kinds = set(map(type, level))
    if any(issubclass(kind, LISTS) for kind in kinds):
        raise _ragged(name, " and ".join(sorted(kind.__name__ for kind in kinds)))
    return level, shape


def kind_of(kind: type) -> str | None:
    """The kind of a Python or numpy scalar type, None if no V2 datatype can hold it."""
    if issubclass(kind, (str, bytes)):
        return TEXT
    if issubclass(kind, (bool, np.bool_)):
        return TRUTH
    if kind.__name__ == "timedelta64":  # numpy has it among its integers
        return None
    if issubclass(kind, WHOLES):
        return WHOLE
    return REAL if issubclass(kind, float | np.float16 | np.float32) else None


def from_elements(
    name: str, elements: list[Any], shape: Sequence[int], required: str | None
) -> WireTensor:
    """Elements as a tensor of the datatype `required`; None chooses one that holds them all.

    Floats may be rounded to the datatype, because Python has only one kind of float. Whole numbers,
    truth values and text are kept exactly or refused.
    """
    kinds = {kind: kind_of(kind) for kind in set(map(type, elements))}
    unknown = {kind for kind, form in kinds.items() if form is None}
    if unknown:
        raise _wrong(name, elements, shape, unknown, "want a number, a truth value or text")
    datatype = required or _suggested(set(kinds.values()), elements)
    fits = _FORMS.get(datatype, REAL)
    others = {kind for kind, form in kinds.items() if (REAL if form == WHOLE else form) != fits}
    if others:
        raise _wrong(name, elements, shape, others, f"want {fits}: the input is {datatype}")
    if datatype == datatypes.BYTES:
        return WireTensor(datatype, _texts(name, elements).reshape(shape))
    if datatype == "BOOL":
        return WireTensor(datatype, np.array(elements, bool).reshape(shape))
    convert = _floats if datatype in FLOATS else _integers
    return WireTensor(datatype, convert(name, elements, shape, datatype))


def _suggested(kinds: set[str | None], elements: list[Any]) -> str:
    if kinds <= {TEXT} and kinds:
        return datatypes.BYTES
    if kinds == {TRUTH}:
        return "BOOL"
    if kinds == {WHOLE}:
        return "UINT64" if max(elements) > np.iinfo(np.int64).max else "INT64"
    return "FP64"


def _integers(name: str, elements: list[Any], shape: Sequence[int], datatype: str) -> Array:
    info = np.iinfo(datatypes.NUMPY[datatype])
    whole = [_whole(element) for element in elements]
    if None in whole:
        bad = [number is None for number in whole]
        raise _invalid(name, elements, shape, bad, f"is not a whole number, want {datatype}")
    if whole and not info.min <= min(whole) <= max(whole) <= info.max:
        bad = [not info.min <= number <= info.max for number in whole]
        raise _invalid(name, elements, shape, bad, f"is out of range: {range_of(datatype)}")
    return np.array(whole, datatypes.NUMPY[datatype]).reshape(shape)


def _whole(element: Any) -> Any:
    """The element as a Python integer, None if it is not a whole number."""
    if isinstance(element, float | np.floating):
        return int(element) if np.isfinite(element) and element == int(element) else None
    return int(element)


def _floats(name: str, elements: list[Any], shape: Sequence[int], datatype: str) -> Array:
    try:
        array = np.array(elements, np.float64).reshape(shape)
    except OverflowError:
        bad = [abs(element) > sys.float_info.max for element in elements]
        why = f"is out of range: {range_of(datatype)}"
        raise _invalid(name, elements, shape, bad, why) from None
    made = rounded(name, array, datatype)
    pairs = zip(elements, widened(made, datatype).reshape(-1).tolist(), strict=True)
    bad = [isinstance(given, WHOLES) and int(given) != held for given, held in pairs]
    if any(bad):
        raise _invalid(name, elements, shape, bad, f"cannot be represented exactly in {datatype}")
    return made


def _invalid(
    name: str, elements: list[Any], shape: Sequence[int], bad: list[bool], why: str
) -> InvalidInput:
    array = np.empty(len(elements), object)
    array[:] = elements
    return refuse(name, array.reshape(shape), np.array(bad).reshape(shape), why)


def _texts(name: str, elements: list[Any]) -> Any:
    array = np.empty(len(elements), object)
    for index, element in enumerate(elements):
        try:
            array[index] = element.encode() if isinstance(element, str) else bytes(element)
        except UnicodeEncodeError:
            raise InvalidInput(
                f"input {name!r}: element {index} cannot be encoded as UTF-8"
            ) from None
    return array


def _wrong(
    name: str, elements: list[Any], shape: Sequence[int], kinds: set[type], why: str
) -> InvalidInput:
    bad = [type(element) in kinds for element in elements]
    kind = type(elements[bad.index(True)]).__name__
    return _invalid(name, elements, shape, bad, f"is of type {kind}, {why}")


def _ragged(name: str, what: str) -> InvalidInput:
    return InvalidInput(f"input {name!r}: the list is ragged: {what} side by side")
