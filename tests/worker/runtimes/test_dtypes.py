"""The tables of element types agree with the libraries they stand for."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save
from torch._export.serde import serialize

from shared import datatypes
from shared.errors import InvalidInput
from worker.runtimes import dtypes


def test_the_numbers_of_torch_export_are_torchs():
    """A change in torch's schema shows here, not in a wrong answer."""
    numbers = {int(number): dtype for dtype, number in serialize._TORCH_TO_SERIALIZE_DTYPE.items()}
    assert numbers == dtypes.EXPORT
    assert serialize.SCHEMA_VERSION[0] == 8


def test_the_names_of_the_protocol_have_torch_types_of_their_size():
    """Every fixed-size datatype has a torch type as large as its numpy one."""
    assert {name: dtype.itemsize for name, dtype in dtypes.V2.items()} == {
        name: dtype.itemsize for name, dtype in datatypes.NUMPY.items()
    }


@pytest.mark.parametrize("name", sorted(dtypes.SAFETENSORS))
def test_the_names_of_safetensors_are_the_librarys(name):
    """The library writes this name for this type, and reads it back."""
    tensor = torch.zeros(2, dtype=dtypes.SAFETENSORS[name])
    raw = save({"t": tensor})
    assert f'"dtype":"{name}"'.encode() in raw
    assert load(raw)["t"].dtype == tensor.dtype


def test_types_without_a_name_in_the_protocol_are_refused():
    """Complex numbers cannot be sent."""
    assert dtypes.v2_name(torch.bfloat16) == "BF16"
    with pytest.raises(InvalidInput, match="complex64"):
        dtypes.v2_name(torch.complex64)
