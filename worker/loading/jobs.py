"""The jobs of the cold queue, in RQ's own format: only what the scripts write is an order.

Nothing else that a job says is acted on: no name is imported, no callback called, nothing unpacked
or unpickled, and no more than `MAX_JOB_BYTES` is read.
"""

from __future__ import annotations

import json
from typing import Any

FUNCTION = "warmroute.load"
MAX_JOB_BYTES = 4096


def call_of(data: bytes) -> tuple[str, str]:
    """The (ref, token) that a job invites to load; ValueError if it is not an order."""
    if len(data) > MAX_JOB_BYTES:
        raise ValueError(f"an order has at most {MAX_JOB_BYTES} bytes")
    try:
        found = json.loads(data, parse_constant=_finite)
    except RecursionError:
        raise ValueError("an order is not nested") from None
    match found:
        case [str(function), None, [str(ref), str(token), *_], dict()]:  # a newer release adds some
            if function == FUNCTION:
                return ref, token
    raise ValueError(f"only {FUNCTION} may run")


def _finite(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
