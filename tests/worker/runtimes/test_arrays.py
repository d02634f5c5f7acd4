"""Arrays become tensors and come back, for every datatype, without copies where none is needed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shared import datatypes
from shared.errors import LoadFailed, ModelFailed
from shared.manifest import TensorSpec
from worker.runtimes import arrays, dtypes


def spec(datatype: str, name: str = "t") -> TensorSpec:
    return TensorSpec(name, datatype, [-1])


@pytest.mark.parametrize("datatype", sorted(dtypes.V2))
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 2)])
def test_every_datatype_makes_the_journey_unchanged(datatype, shape):
    """Type, shape and bits are the same on the other side."""
    raw = np.random.default_rng(0).integers(0, 2, shape, dtype=np.uint8)
    array = raw.astype(datatypes.NUMPY[datatype])
    tensor = arrays.to_tensor(array, datatype)
    assert (tensor.dtype, tuple(tensor.shape)) == (dtypes.V2[datatype], shape)
    again = arrays.to_array(tensor, spec(datatype))
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)


def test_bfloat16_bits_are_bfloat16_values():
    """0x3f80 is 1.0."""
    assert arrays.to_tensor(np.array([0x3F80], np.uint16), "BF16").item() == 1.0


def test_a_writable_contiguous_array_is_not_copied():
    """A batch is handed to torch as it lies."""
    array = np.ones((4, 4), np.float32)
    tensor = arrays.to_tensor(array, "FP32")
    assert tensor.data_ptr() == array.ctypes.data
    assert arrays.to_array(tensor, spec("FP32")).ctypes.data == array.ctypes.data


@pytest.mark.parametrize("make", ["read-only", "strided", "reversed"])
def test_other_arrays_are_copied(make):
    """A message's own bytes are never given to a model, which may write to its input."""
    array = np.arange(6, dtype=np.float32)
    if make == "read-only":
        array = np.frombuffer(array.tobytes(), np.float32)
    else:
        array = array[::2] if make == "strided" else array[::-1]
    tensor = arrays.to_tensor(array, "FP32")
    np.testing.assert_array_equal(tensor.numpy(), array)
    assert tensor.data_ptr() != array.ctypes.data


def test_a_strided_output_becomes_contiguous():
    """What leaves a model can be sent as it lies."""
    array = arrays.to_array(torch.arange(6).view(2, 3).t(), spec("INT64"))
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, [[0, 3], [1, 4], [2, 5]])


def test_an_output_of_another_type_is_the_models_failure():
    """The manifest promised a type; another one would be decoded as garbage."""
    with pytest.raises(ModelFailed, match=r"'y' is torch.float64, not FP32"):
        arrays.to_array(torch.ones(1, dtype=torch.float64), spec("FP32", "y"))


A, B = torch.ones(1), torch.zeros(1)


@pytest.mark.parametrize("outputs", [(A, B), [A, B], ((A,), [B]), {"b": B, "a": A}])
def test_outputs_are_found_in_whatever_a_model_returns(outputs):
    """Tuples, lists and nests by order, dicts by name."""
    found = arrays.flatten(outputs, [spec("FP32", "a"), spec("FP32", "b")])
    assert found[0] is A
    assert found[1] is B


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (A, "returned 1 outputs, the manifest names 2"),
        ((A, B, A), "returned 3 outputs"),
        ((A, 3), "'b' is not a tensor but int"),
        ((A, None), "'b' is not a tensor but NoneType"),
        ({"a": A}, "no output 'b'"),
    ],
)
def test_other_outputs_are_the_models_failure(outputs, reason):
    """Count, kind and names must be the manifest's."""
    with pytest.raises(ModelFailed, match=reason):
        arrays.flatten(outputs, [spec("FP32", "a"), spec("FP32", "b")])


def test_a_manifest_with_a_type_torch_lacks_does_not_load():
    """Text goes to onnxruntime, not to torch."""
    with pytest.raises(LoadFailed, match="BYTES"):
        arrays.check_specs([spec("FP32"), spec("BYTES")])
