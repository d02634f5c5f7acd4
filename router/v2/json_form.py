"""The JSON form of an inference request, as the Open Inference Protocol writes it, and the types of
its parameters.

A parameter of Triton's extensions that this server does not offer is refused as such (501), unless
it is switched off; parameters that no extension defines are ignored.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from shared.envelope import LAST, USUAL
from shared.errors import InvalidInput, UnsupportedInput

MAX_TENSORS = 256
MAX_ID = 256

Parameters = dict[str, Any] | None


class JsonInput(Struct):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: Parameters = None


class JsonOutput(Struct):
    name: str
    parameters: Parameters = None


class JsonRequest(Struct):
    inputs: Annotated[list[JsonInput], Meta(min_length=1, max_length=MAX_TENSORS)]
    outputs: Annotated[list[JsonOutput], Meta(max_length=MAX_TENSORS)] | None = None
    id: Annotated[str, Meta(max_length=MAX_ID)] = ""
    parameters: Parameters = None


NUMBER, TEXT, FLAG = "a number of 0 or more", "a text", "true or false"
# What is not offered, and what it may be: 0, '' and false switch it off.
NOT_OFFERED: dict[str, tuple[str, ...]] = {
    "sequence_id": (NUMBER, TEXT),
    "sequence_start": (FLAG,),
    "sequence_end": (FLAG,),
    "shared_memory_region": (TEXT,),
    "shared_memory_offset": (NUMBER,),
    "shared_memory_byte_size": (NUMBER,),
    "classification": (NUMBER,),
    "triton_enable_empty_final_response": (FLAG,),
}


def check_offered(parameters: Parameters, field: str = "") -> None:
    """UnsupportedInput for a parameter that is not offered, InvalidInput if its type is wrong."""
    for name, value in (parameters or {}).items():
        kinds = NOT_OFFERED.get(name)
        if kinds is None or value is None:
            continue
        if _kind(value) not in kinds:
            raise InvalidInput(f"{field}parameters.{name}: want {' or '.join(kinds)}")
        if value:
            raise UnsupportedInput(f"{field}parameters.{name}: not offered by this server")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return FLAG
    if isinstance(value, int):
        return NUMBER if value >= 0 else ""
    return TEXT if isinstance(value, str) else ""


def flag_of(parameters: Parameters, name: str, field: str = "") -> bool:
    """A parameter that is true or false, false if it is not there; InvalidInput."""
    value = (parameters or {}).get(name, False)
    if not isinstance(value, bool):
        raise InvalidInput(f"{field}parameters.{name}: want {FLAG}")
    return value


def timeout_of(parameters: dict[str, Any]) -> int | None:
    """The parameter `timeout`, microseconds; InvalidInput."""
    value = parameters.get("timeout")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        raise InvalidInput("parameters.timeout: want a positive number of microseconds")
    return value


def priority_of(parameters: dict[str, Any]) -> int:
    """1, the most urgent, to 9; 0 and absent are the usual one."""
    value = parameters.get("priority", 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LAST:
        raise InvalidInput(f"parameters.priority: want 0 to {LAST}")
    return value or USUAL


class _Peeked(Struct):
    parameters: dict[str, Any] | None = None


_peek_decoder = msgspec.json.Decoder(_Peeked)


def peek_timeout_us(head: bytes | memoryview) -> int | None:
    """`parameters.timeout` of the JSON part, read before the model is known. None if it is absent,
    or not a number of microseconds: then parsing will refuse it."""
    try:
        value = (_peek_decoder.decode(head).parameters or {}).get("timeout")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    valid = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 63
    return value if valid else None
