"""Parameters of extensions that are not offered are refused as such, whatever carries them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.v2.request import parse
from shared.errors import InvalidInput, UnsupportedInput
from tests.helpers.factories import manifest

X = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
WANTED = {
    "sequence_id": [1, 2**64, "a"],
    "sequence_start": [True],
    "sequence_end": [True],
    "shared_memory_region": ["r"],
    "shared_memory_offset": [8],
    "shared_memory_byte_size": [8],
    "classification": [3],
    "triton_enable_empty_final_response": [True],
}
NO_VALUES = {
    "sequence_id": [-1, 1.5, True, [], {}],
    "sequence_start": [1, 0, "a", "", [], {}],
    "sequence_end": ["true", 0.0],
    "shared_memory_region": [1, 0, True, [], ["r"]],
    "shared_memory_offset": [-1, "8", False],
    "shared_memory_byte_size": [1.0, {}],
    "classification": ["3", True, [], -3],
    "triton_enable_empty_final_response": ["yes", 1],
}
PLACES = {
    "parameters": lambda given: {"inputs": [X], "parameters": given},
    "inputs['x'].parameters": lambda given: {"inputs": [X | {"parameters": given}]},
    "outputs['y'].parameters": lambda given: {
        "inputs": [X], "outputs": [{"name": "y", "parameters": given}],
    },
}  # fmt: skip


def pairs(table: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(name, value) for name, values in table.items() for value in values]


def read(place: str, name: str, value: Any) -> None:
    parse(json.dumps(PLACES[place]({name: value})).encode(), None, manifest())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("name", "value"), pairs(WANTED))
def test_what_is_not_offered_is_refused_as_that(place: str, name: str, value: Any) -> None:
    """Of the request, an input or an output: the answer would be another than was meant."""
    with pytest.raises(UnsupportedInput) as caught:
        read(place, name, value)
    assert caught.value.message == f"{place}.{name}: not offered by this server"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("name", "value"), pairs(NO_VALUES))
def test_a_value_that_it_cannot_have_is_the_callers_mistake(
    place: str, name: str, value: Any
) -> None:
    """Invalid, with what it may be."""
    with pytest.raises(InvalidInput, match="want") as caught:
        read(place, name, value)
    assert caught.value.code == "invalid"
    assert caught.value.message.startswith(f"{place}.{name}: ")


@pytest.mark.parametrize("value", ["yes", 1, None, []])
def test_a_form_is_true_or_false(value: Any) -> None:
    """For one output, and for all; the field is named."""
    for place, name in (("outputs['y'].parameters", "binary_data"),
                        ("parameters", "binary_data_output")):  # fmt: skip
        with pytest.raises(InvalidInput) as caught:
            read(place, name, value)
        assert caught.value.message == f"{place}.{name}: want true or false"
