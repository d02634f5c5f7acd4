"""Tensor specs as they are written on the command line: `input:FP32:-1,16`."""

from __future__ import annotations

import re

from deploy.cli.errors import WrongUse
from shared import datatypes
from shared.digits import is_plain
from shared.manifest import TensorSpec

FORM = "NAME:DATATYPE:DIM,DIM,..."
MAX_SIZE, MAX_DIMENSIONS = 2**40, 16
# A name cannot look like two names, or like a name and a value.
NAME = re.compile(r"[^\s,;='\"]{1,256}")


def read_spec(text: str) -> TensorSpec:
    """A spec, or WrongUse that says what is wrong with it. No dimensions make a scalar."""
    # From the right, since names such as `serving_default:0` exist.
    name, _, rest = text.rpartition(":")
    name, _, datatype = name.rpartition(":")
    if not name:
        raise WrongUse(f"{text!r}: want {FORM}")
    _check_name(name, text)
    if datatype not in datatypes.ALL:
        raise WrongUse(f"{text!r}: datatype {datatype!r}, want one of {sorted(datatypes.ALL)}")
    try:
        shape = [int(dim if is_plain(dim) else "") for dim in rest.split(",") if dim]
    except ValueError:
        raise WrongUse(f"{text!r}: a dimension is a whole number, or -1 if it varies") from None
    if any(not -1 <= dim <= MAX_SIZE for dim in shape):
        raise WrongUse(f"{text!r}: a dimension is a whole number, or -1 if it varies")
    if len(shape) > MAX_DIMENSIONS:
        raise WrongUse(f"{text!r}: over {MAX_DIMENSIONS} dimensions")
    return TensorSpec(name, datatype, shape)


def read_said(text: str) -> str | TensorSpec:
    """A spec, or a bare name if the model has the rest. A name may end as a spec does:
    `serving_default:0` is a name, `x:INT64` is neither."""
    kind = text.rpartition(":")[0].rpartition(":")[2]
    if ":" in text and (kind in datatypes.ALL or not kind):
        return read_spec(text)
    if text.rpartition(":")[2] in datatypes.ALL:
        return read_spec(text)
    _check_name(text, text)
    return text


def name_of(text: str) -> str:
    """The name in a spec, or a bare name."""
    said = read_said(text)
    return said if isinstance(said, str) else said.name


def _check_name(name: str, text: str) -> None:
    if not NAME.fullmatch(name):
        raise WrongUse(
            f"{text!r}: a name is 1 to 256 characters without space, comma, semicolon, = or quote; "
            "give one option per tensor"
        )
