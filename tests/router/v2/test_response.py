"""A V2 response: JSON, or JSON with binary tensors after it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from router.v2 import response
from shared.envelope import Outcome, Tensor
from shared.errors import InvalidInput
from shared.names import ModelRef
from shared.tensor_bytes import pack_bytes
from tests.helpers.factories import tensor

REF = ModelRef("mnist", 3, "0123456789ab")
Y = tensor(np.array([[1, 2], [3, 4]], "<f4"), "y")
TEXTS = Tensor("t", "BYTES", [2], memoryview(pack_bytes([b"tabby", b"\xffcat"])))
HALF = tensor(np.array([1.5], "<f2"), "h")


def test_json_has_model_version_id_and_outputs() -> None:
    """Data is flat; the shape says how to fold it. There is no header for binary."""
    body, headers = response.render(Outcome([Y, TEXTS], "mine"), REF, {}, False)
    assert json.loads(body) == {
        "model_name": "mnist", "model_version": "3", "id": "mine",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]},
            {"name": "t", "datatype": "BYTES", "shape": [2], "data": ["tabby", "\ufffdcat"]},
        ],
    }  # fmt: skip
    assert headers == {"Content-Type": "application/json"}


def test_no_id_is_given_back_if_none_was_sent() -> None:
    """The member is absent."""
    assert "id" not in json.loads(response.render(Outcome([Y]), REF, {}, False)[0])


def test_binary_tensors_follow_in_order() -> None:
    """The header says where they begin, each output how many bytes it has."""
    body, headers = response.render(Outcome([Y, TEXTS, HALF]), REF, {}, True)
    length = int(headers["Inference-Header-Content-Length"])
    rows = json.loads(body[:length])["outputs"]
    sizes = [row["parameters"]["binary_data_size"] for row in rows]
    assert all("data" not in row for row in rows)
    assert headers["Content-Type"] == "application/octet-stream"
    assert body[length:] == b"".join(bytes(t.data) for t in (Y, TEXTS, HALF))
    assert sizes == [16, len(TEXTS.data), 2]


def test_an_outputs_own_wish_wins_over_the_requests() -> None:
    """In both directions."""
    body, headers = response.render(Outcome([Y, HALF]), REF, {"y": False}, True)
    length = int(headers["Inference-Header-Content-Length"])
    y, h = json.loads(body[:length])["outputs"]
    assert ("data" in y, "data" in h) == (True, False)
    assert body[length:] == bytes(HALF.data)
    _, headers = response.render(Outcome([Y, TEXTS]), REF, {"t": True}, False)
    assert "Inference-Header-Content-Length" in headers


def test_what_json_cannot_say_is_null() -> None:
    """The answer stays valid JSON."""
    nan = tensor(np.array([np.nan, np.inf, 1], "<f4"), "y")
    body, _ = response.render(Outcome([nan]), REF, {}, False)
    assert json.loads(body)["outputs"][0]["data"] == [None, None, 1]


def test_half_precision_must_be_asked_for_as_binary() -> None:
    """The error names the output."""
    with pytest.raises(InvalidInput, match=r"outputs\['h'\]"):
        response.render(Outcome([HALF]), REF, {}, False)


def test_a_float_comes_back_as_it_was() -> None:
    """The digits are enough to tell it from its neighbours."""
    values = np.array([0.1, 1 / 3, 1e-45, 3.4e38, -0.0], "<f4")
    body, _ = response.render(Outcome([tensor(values, "y")]), REF, {}, False)
    back = np.array(json.loads(body)["outputs"][0]["data"], "<f4")
    assert back.tobytes() == values.tobytes()
