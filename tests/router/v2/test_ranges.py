"""A value that the model cannot take is refused at the door, in every form of a request."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from router.v2.request import InferRequest, check, parse
from shared.envelope import Envelope
from shared.errors import InvalidInput
from shared.manifest import TensorSpec
from tests.helpers.factories import manifest, spec, tensor

IDS = TensorSpec("ids", "INT64", [-1, 3], minimum=0, maximum=99)
MODEL = manifest(inputs=[IDS, spec("x", "FP32", [-1, 1])])
ALONE = manifest(inputs=[IDS])
SAID = r"^inputs\['ids'\].data: element 2 is 100, the model takes 0 to 99$"


def as_json(ids: list[int], **changes: Any) -> tuple[bytes, str | None]:
    x = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1e30]}
    given = {"name": "ids", "datatype": "INT64", "shape": [1, 3], "data": ids, **changes}
    return json.dumps({"inputs": [given, x]}).encode(), None


def as_binary(ids: list[int]) -> tuple[bytes, str | None]:
    raw = np.array(ids, dtype="<i8").tobytes()
    x = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1e30]}
    given = {"name": "ids", "datatype": "INT64", "shape": [1, 3],
             "parameters": {"binary_data_size": len(raw)}}  # fmt: skip
    head = json.dumps({"inputs": [x, given]}).encode()
    return head + raw, str(len(head))


@pytest.mark.parametrize("form", [as_json, as_binary])
def test_an_index_out_of_range_is_the_caller_s_fault(form) -> None:
    """Whatever stands beside it. What is within the range is taken."""
    parse(*form([0, 99, 5]), MODEL)
    with pytest.raises(InvalidInput, match=SAID):
        parse(*form([0, 99, 100]), MODEL)
    with pytest.raises(InvalidInput, match="element 0 is -1, the model takes 0 to 99"):
        parse(*form([-1, 99, 5]), MODEL)


def test_a_nested_list_is_counted_flat() -> None:
    """As V2 sends it."""
    with pytest.raises(InvalidInput, match=SAID):
        parse(*as_json([[0, 99, 100]]), MODEL)


def test_a_body_of_bytes_only_is_compared_too() -> None:
    """It has no JSON that could name the input."""
    raw = np.array([0, 99, 100], dtype="<i8").tobytes()
    with pytest.raises(InvalidInput, match=SAID):
        parse(raw, "0", ALONE)


def test_a_door_that_parsed_the_tensors_itself_has_them_compared() -> None:
    """Other protocols than HTTP."""
    request = InferRequest(Envelope([tensor(np.array([[0, 99, 100]]), "ids")]), None, {}, True)
    with pytest.raises(InvalidInput, match=SAID):
        check(request, ALONE)
