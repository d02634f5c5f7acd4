"""Names of element types: in the Open Inference Protocol, safetensors and torch.export."""

from __future__ import annotations

import torch

from shared.datatypes import TABLE
from shared.errors import InvalidInput

V2: dict[str, torch.dtype] = {name: getattr(torch, row.torch) for name, row in TABLE.items()}
_V2_NAMES = {dtype: name for name, dtype in V2.items()}

# safetensors stores these too, although the protocol does not carry them.
SAFETENSORS: dict[str, torch.dtype] = {row.safetensors: V2[name] for name, row in TABLE.items()} | {
    "C64": torch.complex64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}

# ScalarType of the torch.export schema, major version 8.
EXPORT: dict[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    9: torch.complex32,
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
    28: torch.uint16,
    29: torch.float8_e4m3fn,
    30: torch.float8_e5m2,
    31: torch.float8_e4m3fnuz,
    32: torch.float8_e5m2fnuz,
    33: torch.float8_e8m0fnu,
    34: torch.uint32,
    35: torch.uint64,
}


def v2_name(dtype: torch.dtype) -> str:
    """The protocol's name of `dtype`; InvalidInput if it has none (complex, 8-bit floats)."""
    if dtype not in _V2_NAMES:
        raise InvalidInput(f"{dtype} has no name in the Open Inference Protocol")
    return _V2_NAMES[dtype]
