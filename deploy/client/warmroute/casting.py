"""Conversion of a caller's value to a tensor: numpy and torch, numbers, text, lists, tables.

An array of the model's datatype is sent as it is. Any other value is converted to that datatype if
every number can be kept, else InvalidInput names the input, the element and a way out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from warmroute import datatypes
from warmroute.datatypes import FLOATS, INTEGERS
from warmroute.elements import LISTS, flatten, from_elements, kind_of
from warmroute.errors import InvalidInput
from warmroute.exact import WireTensor, exactly
from warmroute.framing import Array


def to_tensor(name: str, value: Any, required: str | None = None) -> WireTensor:
    """`value` as a tensor of the datatype `required`; None keeps the datatype of the value.

    Raises:
        InvalidInput: the value is not a tensor, or the conversion would change an element.
    """
    if not isinstance(name, str):
        raise InvalidInput(f"input {name!r}: an input name must be text")
    if isinstance(value, np.ndarray):
        return _array(name, value, required)
    if isinstance(value, LISTS) or kind_of(type(value)) is not None:
        return _listed(name, value, required)
    if type(value).__module__.partition(".")[0] == "torch":
        return _torch(name, value, required)
    return _array(name, _like_an_array(name, value), required)


def _listed(name: str, value: Any, required: str | None) -> WireTensor:
    elements, shape = flatten(name, value)
    if elements and all(_arrayish(element) for element in elements):
        return _stacked(name, elements, shape, required)
    return from_elements(name, elements, shape, required)


def _arrayish(value: Any) -> bool:
    return hasattr(value, "__array__") and not isinstance(value, np.generic)


def _stacked(name: str, parts: list[Any], shape: list[int], required: str | None) -> WireTensor:
    """A list of arrays of one shape is an array with one dimension more."""
    tensors = [to_tensor(name, part, required) for part in parts]
    kinds = {(part.datatype, part.array.shape) for part in tensors}
    if len(kinds) > 1:
        listed = " and ".join(f"{datatype} {list(inner)}" for datatype, inner in sorted(kinds))
        raise InvalidInput(f"input {name!r}: the arrays of the list differ: {listed}")
    ((datatype, inner),) = kinds
    stacked = np.stack([part.array for part in tensors])
    return WireTensor(datatype, stacked.reshape((*shape, *inner)))


def _like_an_array(name: str, value: Any) -> Array:
    """A value that numpy can convert (a DataFrame, a picture, a buffer) as an array."""
    try:
        array = np.asarray(value, object if _mixed_table(value) else None)
    except Exception as error:
        reason, kind = str(error).partition("\n")[0], type(value).__name__
        raise InvalidInput(f"input {name!r}: cannot convert a {kind}: {reason}") from error
    if array.ndim == 0 and array.dtype == object:
        raise InvalidInput(f"input {name!r}: cannot convert a {type(value).__name__} to a tensor")
    return array


def _mixed_table(value: Any) -> bool:
    """Whether it is a table with columns of several datatypes, for which numpy would choose one."""
    columns = getattr(value, "dtypes", None)
    return getattr(value, "ndim", 0) == 2 and columns is not None and len(set(columns)) > 1


def _torch(name: str, value: Any, required: str | None) -> WireTensor:
    """A torch tensor on any device, without importing torch."""
    if str(getattr(value, "layout", "")) != "torch.strided":
        raise InvalidInput(f"input {name!r}: not a dense tensor, call .to_dense() first")
    try:
        tensor = value.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":
            return _bfloat16(name, tensor.float().numpy(), required)
        return _array(name, tensor.numpy(), required)
    except (TypeError, RuntimeError, NotImplementedError) as error:
        if isinstance(error, InvalidInput):
            raise
        reason = str(error).partition("\n")[0]
        raise InvalidInput(f"input {name!r}: cannot convert {value.dtype}: {reason}") from error


def _bfloat16(name: str, widened: Array, required: str | None) -> WireTensor:
    """bfloat16 values that are given as float32, which holds them exactly."""
    datatype = required or "BF16"
    if datatype not in FLOATS and datatype not in INTEGERS:
        raise InvalidInput(f"input {name!r}: BF16, want {datatype}")
    return WireTensor(datatype, exactly(name, widened, datatype))


def _array(name: str, array: Array, required: str | None) -> WireTensor:
    if isinstance(array, np.ma.MaskedArray):
        raise InvalidInput(f"input {name!r}: the array has a mask, call .filled(value) first")
    array = np.asarray(array)
    if array.dtype.kind in "OSUT":
        elements = array.reshape(-1).tolist()
        return from_elements(name, elements, array.shape, _textual(array, required))
    if array.dtype.name == "bfloat16":  # of ml_dtypes: numpy has no such dtype
        if required in (None, "BF16"):
            return WireTensor("BF16", array.view(np.uint16).astype("<u2"))
        return _bfloat16(name, array.astype(np.float32), required)
    try:
        own = datatypes.from_numpy(array.dtype)
    except KeyError:
        why = f"the protocol has no datatype for numpy's {array.dtype}"
        raise InvalidInput(f"input {name!r}: {why}, convert it first (.astype)") from None
    datatype = required or own
    if own == datatype:
        return WireTensor(own, array.astype(datatypes.NUMPY[own], copy=False))
    if datatypes.BYTES in (own, datatype) or "BOOL" in (own, datatype):
        raise InvalidInput(f"input {name!r}: the array is {own}, want {datatype}")
    if datatype == "BF16" and own == "UINT16":  # it could mean bits or numbers
        raise InvalidInput(f"input {name!r}: UINT16, want BF16: give the values as float32")
    return WireTensor(datatype, exactly(name, array, datatype))


def _textual(array: Array, required: str | None) -> str | None:
    """The required datatype; an empty object array has none of its own, one of text has BYTES."""
    if array.dtype == object and array.size:
        return required
    return required or datatypes.BYTES
