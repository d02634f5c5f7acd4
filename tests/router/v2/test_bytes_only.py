"""A body of bytes only: its shape is said by its length, or it is refused with the way out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from router.v2.request import parse
from shared import datatypes
from shared.errors import InvalidInput
from shared.manifest import Batching, Manifest
from tests.helpers.factories import manifest, spec

ALONE, BATCHED = Batching(max_size=1), Batching(max_size=4)
SIZES = [(d, datatypes.item_size(d)) for d in sorted(datatypes.NUMPY)]


def model(datatype: str, shape: list[int], batching: Batching = ALONE) -> Manifest:
    return manifest(inputs=[spec("x", datatype, shape)], batching=batching)


@pytest.mark.parametrize(("datatype", "each"), SIZES)
@pytest.mark.parametrize(
    ("shape", "count", "read"),
    [
        ([-1], 6, [6]), ([-1], 0, [0]), ([2, -1], 6, [2, 3]), ([-1, 3], 6, [2, 3]), ([3], 3, [3]),
        ([], 1, []), ([2, 0], 0, [2, 0]), ([-1, 3], 0, [0, 3]),
    ],
)  # fmt: skip
def test_the_bytes_say_the_one_free_size(
    datatype: str, each: int, shape: list[int], count: int, read: list[int]
) -> None:
    """Or none, where none is free."""
    body = bytes(count * each)
    (sent,) = parse(body, "0", model(datatype, shape)).envelope.inputs
    assert (sent.name, sent.datatype, sent.shape, bytes(sent.data)) == ("x", datatype, read, body)


def test_of_a_batched_model_the_batch_is_read_too() -> None:
    """Within its limit; beside another free size it is 1."""
    one = model("FP32", [-1, 4], BATCHED)
    assert parse(bytes(32), "0", one).envelope.inputs[0].shape == [2, 4]
    with pytest.raises(InvalidInput, match="batch of 5"):
        parse(bytes(80), "0", one)
    two = model("FP32", [-1, -1, 4], BATCHED)
    assert parse(bytes(32), "0", two).envelope.inputs[0].shape == [1, 2, 4]


def test_the_answer_is_binary() -> None:
    """All outputs, by the gateway's deadline."""
    request = parse(np.ones(2, "<f4").tobytes(), "0", manifest())
    assert (request.binary_default, request.binary, request.envelope.outputs) == (True, {}, [])


@pytest.mark.parametrize("body", [b"", b"hello", b"\5\0\0\0hello", bytes(300)])
@pytest.mark.parametrize(("shape", "read"), [([-1], [1]), ([1], [1]), ([], []), ([-1, 1], [1, 1])])
def test_text_is_one_element(body: bytes, shape: list[int], read: list[int]) -> None:
    """The whole body, whatever it begins with."""
    (sent,) = parse(body, "0", model("BYTES", shape)).envelope.inputs
    assert (sent.shape, bytes(sent.data)) == (read, len(body).to_bytes(4, "little") + body)


@pytest.mark.parametrize(
    ("given", "size", "said"),
    [
        (model("FP32", [-1, 4]), 15, "want a multiple of 16"),
        (model("FP32", [4]), 15, "4 elements"),
        (model("FP32", [4]), 0, "4 elements"),
        (model("FP32", [-1, -1]), 16, "does not say which"),
        (model("FP32", [-1, -1, -1], BATCHED), 16, "does not say which"),
        (model("FP32", [-1, 0]), 0, "does not say which"),
        (model("BYTES", [2]), 16, "one element"),
        (model("BYTES", [-1, 2]), 16, "one element"),
        (model("BYTES", [0]), 0, "one element"),
        (manifest(inputs=[spec("x"), spec("w")]), 16, "['x', 'w']"),
    ],
)
def test_bytes_that_do_not_say_enough_are_refused(given: Any, size: int, said: str) -> None:
    """The input and the header are named, and where the size alone is wrong, the right one."""
    with pytest.raises(InvalidInput) as caught:
        parse(bytes(size), "0", given)
    assert said in caught.value.message
    assert "Inference-Header-Content-Length: 0" in caught.value.message


def test_a_truth_is_still_one_or_zero() -> None:
    """As in any binary tensor."""
    with pytest.raises(InvalidInput, match="0 or 1"):
        parse(b"\0\2", "0", model("BOOL", [-1]))
