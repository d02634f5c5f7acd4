"""What a caller may give as a tensor: arrays, tensors of other libraries, numbers, text and lists.

An array whose datatype is the model's travels as it is. Anything else becomes the model's datatype
if every value can be kept, else InvalidInput names the input, the value and the way out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from warmroute import datatypes
from warmroute.errors import InvalidInput
from warmroute.exact import FLOATS, INTEGERS, Array, Taken, exactly
from warmroute.leaves import LISTS, flatten, kind_of, take_elements


def take(name: str, value: Any, wanted: str | None = None) -> Taken:
    """`value` as a tensor of the datatype `wanted`; None takes what the value itself says."""
    if not isinstance(name, str):
        raise InvalidInput(f"input {name!r}: a name is text")
    if isinstance(value, np.ndarray):
        return _array(name, value, wanted)
    if isinstance(value, LISTS) or kind_of(type(value)) is not None:
        return _listed(name, value, wanted)
    if type(value).__module__.partition(".")[0] == "torch":
        return _torch(name, value, wanted)
    return _array(name, _like_an_array(name, value), wanted)


def _listed(name: str, value: Any, wanted: str | None) -> Taken:
    elements, shape = flatten(name, value)
    if elements and all(_arrayish(element) for element in elements):
        return _stacked(name, elements, shape, wanted)
    return take_elements(name, elements, shape, wanted)


def _arrayish(value: Any) -> bool:
    return hasattr(value, "__array__") and not isinstance(value, np.generic)


def _stacked(name: str, parts: list[Any], shape: list[int], wanted: str | None) -> Taken:
    """A list of arrays of one shape is an array with one dimension more."""
    taken = [take(name, part, wanted) for part in parts]
    kinds = {(part.datatype, part.array.shape) for part in taken}
    if len(kinds) > 1:
        said = " and ".join(f"{datatype} {list(inner)}" for datatype, inner in sorted(kinds))
        raise InvalidInput(f"input {name!r}: the arrays of the list differ: {said}")
    ((datatype, inner),) = kinds
    stacked = np.stack([part.array for part in taken])
    return Taken(datatype, stacked.reshape((*shape, *inner)))


def _like_an_array(name: str, value: Any) -> Array:
    """Of a value with an interface of numpy's: a DataFrame, a picture, a buffer."""
    try:
        array = np.asarray(value, object if _mixed_table(value) else None)
    except Exception as error:
        said = str(error).partition("\n")[0]
        kind = type(value).__name__
        raise InvalidInput(f"input {name!r}: a {kind} is no array: {said}") from error
    if array.ndim == 0 and array.dtype == object:
        raise InvalidInput(f"input {name!r}: a {type(value).__name__} is no tensor")
    return array


def _mixed_table(value: Any) -> bool:
    """Whether it is a table with columns of several datatypes: numpy would take one for all."""
    columns = getattr(value, "dtypes", None)
    return getattr(value, "ndim", 0) == 2 and columns is not None and len(set(columns)) > 1


def _torch(name: str, value: Any, wanted: str | None) -> Taken:
    """A tensor of torch, from whatever device, without importing torch."""
    if str(getattr(value, "layout", "")) != "torch.strided":
        raise InvalidInput(f"input {name!r}: not a dense tensor, call .to_dense() first")
    try:
        tensor = value.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":
            return _bfloat16(name, tensor.float().numpy(), wanted)
        return _array(name, tensor.numpy(), wanted)
    except (TypeError, RuntimeError, NotImplementedError) as error:
        if isinstance(error, InvalidInput):
            raise
        said = str(error).partition("\n")[0]
        raise InvalidInput(f"input {name!r}: {value.dtype} gives no array: {said}") from error


def _bfloat16(name: str, widened: Array, wanted: str | None) -> Taken:
    """bfloat16 values that came as float32, which holds them exactly."""
    datatype = wanted or "BF16"
    if datatype not in FLOATS and datatype not in INTEGERS:
        raise InvalidInput(f"input {name!r}: BF16, want {datatype}")
    return Taken(datatype, exactly(name, widened, datatype))


def _array(name: str, array: Array, wanted: str | None) -> Taken:
    if isinstance(array, np.ma.MaskedArray):
        raise InvalidInput(f"input {name!r}: it has a mask, call .filled(value) first")
    array = np.asarray(array)
    if array.dtype.kind in "OSUT":
        elements = array.reshape(-1).tolist()
        return take_elements(name, elements, array.shape, _textual(array, wanted))
    if array.dtype.name == "bfloat16":  # of ml_dtypes; numpy has none of its own
        if wanted in (None, "BF16"):
            return Taken("BF16", array.view(np.uint16).astype("<u2"))
        return _bfloat16(name, array.astype(np.float32), wanted)
    try:
        own = datatypes.from_numpy(array.dtype)
    except KeyError:
        why = f"numpy dtype {array.dtype} is no V2 datatype"
        raise InvalidInput(f"input {name!r}: {why}, convert it first (.astype)") from None
    datatype = wanted or own
    if own == datatype:
        return Taken(own, array.astype(datatypes.NUMPY[own], copy=False))
    if datatypes.BYTES in (own, datatype) or "BOOL" in (own, datatype):
        raise InvalidInput(f"input {name!r}: the array is {own}, want {datatype}")
    if datatype == "BF16" and own == "UINT16":  # bits or numbers? nobody can tell
        raise InvalidInput(f"input {name!r}: UINT16, want BF16: give the values as float32")
    return Taken(datatype, exactly(name, array, datatype))


def _textual(array: Array, wanted: str | None) -> str | None:
    """An empty array of objects says nothing of what it holds; one of text does."""
    if array.dtype == object and array.size:
        return wanted
    return wanted or datatypes.BYTES
