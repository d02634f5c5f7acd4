"""Parameters of a V2 request and its tensors: their types, and those that are not offered.

A parameter of Triton's extensions that this server does not offer is refused as such (501), unless
it is switched off; parameters that no extension knows are passed over.
"""

from __future__ import annotations

from typing import Any

from router.v2.json_form import Parameters
from shared.envelope import LAST, USUAL
from shared.errors import InvalidInput, UnsupportedInput

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
    """UnsupportedInput for a parameter that is not offered, InvalidInput if it is not even one."""
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
