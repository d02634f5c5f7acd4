"""Ambiguous JSON, which two readers may read differently, is refused with an error that names it.

RFC 8259 requires UTF-8 and does not define a repeated key. The decoder keeps the last one, so a
repeated key goes unnoticed. Reading every key again would cost as much as decoding; a count of the
colons shows whether there can be a key that was not decoded.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

from router.v2.json_form import JsonRequest
from shared import datatypes
from shared.errors import InvalidInput

LARGE = 4096
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NOT_A_NUMBER = re.compile(rb"-?(NaN|Infinity)")
_AT = re.compile(r"\(byte (\d+)\)")


def check(raw: bytes, document: JsonRequest) -> None:
    """InvalidInput if a key of `raw`, which was decoded to `document`, is given twice, or a string
    other than an element of a BYTES tensor holds NUL."""
    if raw.count(b":") != _keys(document):
        _look_closer(raw, document)
    if b"\\" in raw and _NUL.search(raw) and _NUL.search(_without_texts(raw, document)):
        raise InvalidInput("body: a string other than an element of BYTES holds NUL (\\u0000)")


def _without_texts(raw: bytes, document: JsonRequest) -> bytes:
    """`raw` without the data of its BYTES tensors, whose elements may be any bytes."""
    for tensor in document.inputs:
        if tensor.datatype == datatypes.BYTES and tensor.data is not msgspec.UNSET:
            raw = raw.replace(bytes(tensor.data), b"[]", 1)
    return raw


def _keys(document: JsonRequest) -> int:
    """How many keys the document has at least; each takes a colon."""
    parameters, outputs = document.parameters, document.outputs
    count = 2 if document.id else 1
    for tensor in document.inputs:
        given = tensor.parameters
        count += 3 if tensor.data is msgspec.UNSET else 4
        if given is not None:
            count += 1 + len(given)
    if parameters is not None:
        count += 1 + len(parameters)
    if outputs is not None:
        count += 1 + len(outputs)
        count += sum(1 + len(o.parameters) for o in outputs if o.parameters is not None)
    return count


def _look_closer(raw: bytes, document: JsonRequest) -> None:
    """There are more colons than keys: in strings, in unknown members, or in a repeated key."""
    in_data = 0
    for tensor in document.inputs:
        # (Anything but an array of numbers or strings is refused later.)
        data = b"" if tensor.data is msgspec.UNSET else bytes(tensor.data)
        in_data += data.count(b":")
        if len(data) > LARGE:
            raw = raw.replace(data, b"0", 1)
            in_data -= data.count(b":")
    if raw.count(b":") - in_data != _keys(document):
        _read_every_key(raw)


def _read_every_key(raw: bytes) -> None:
    try:
        json.loads(
            raw, object_pairs_hook=refuse_repeated, parse_int=str, parse_float=_finite,
            parse_constant=_finite,
        )  # fmt: skip
    except RecursionError:
        raise InvalidInput("body: JSON is nested too deeply") from None
    except ValueError as error:
        raise InvalidInput(f"body: {error}") from None


def refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    """An `object_pairs_hook`: InvalidInput for a key that is given twice."""
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise InvalidInput(f"body: the key {key[:40]!r} is given twice")
        seen.add(key)


def _finite(text: str) -> str:
    if not math.isfinite(float(text)):
        raise InvalidInput(f"body: {text[:20]} is not a JSON number")
    return text


def explain(raw: bytes | memoryview, error: Exception) -> str:
    """Why `raw` could not be decoded, better than the decoder says where that is possible."""
    text = bytes(raw)
    if not text.strip():
        return "is empty, want a JSON object"
    if isinstance(error, UnicodeDecodeError):
        return "a string is not UTF-8"
    if text[:3] == b"\xef\xbb\xbf" or text[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in text[:4]:
        return (
            "want JSON in UTF-8, without a byte order mark "
            "(bytes only: with Inference-Header-Content-Length: 0)"
        )
    said = str(error)
    found = _AT.search(said)
    if found and _NOT_A_NUMBER.match(text, int(found[1])):
        return "NaN and Infinity are not JSON numbers, send the tensor as binary"
    if _SURROGATE.search(text) and re.search("truncated|surrogate|escape", said):
        return "a string holds half of a surrogate pair"
    return said
