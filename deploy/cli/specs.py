"""Tensor specs as they are written on the command line: `input:FP32:-1,16`."""

from __future__ import annotations

from deploy.cli.errors import WrongUse
from shared import datatypes
from shared.manifest import TensorSpec

FORM = "NAME:DATATYPE:DIM,DIM,..."


def read_spec(text: str) -> TensorSpec:
    """A spec, or WrongUse that says what is wrong with it. No dimensions make a scalar."""
    # From the right, since names such as `serving_default:0` exist.
    name, _, rest = text.rpartition(":")
    name, _, datatype = name.rpartition(":")
    if not name:
        raise WrongUse(f"{text!r}: want {FORM}")
    if datatype not in datatypes.ALL:
        raise WrongUse(f"{text!r}: datatype {datatype!r}, want one of {sorted(datatypes.ALL)}")
    try:
        shape = [int(dim) for dim in rest.split(",") if dim]
    except ValueError:
        raise WrongUse(f"{text!r}: a dimension is a whole number, -1 where it varies") from None
    if any(dim < -1 for dim in shape):
        raise WrongUse(f"{text!r}: a dimension is a whole number, -1 where it varies")
    return TensorSpec(name, datatype, shape)


def name_of(text: str) -> str:
    """The name of a spec, or of a bare name, where the model itself says the rest."""
    return read_spec(text).name if ":" in text else text
