"""Tensors of a batch: joined before the device call, split after it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import datatypes
from shared.envelope import Envelope, Tensor, Timing
from shared.errors import ModelFailed
from shared.tensor_bytes import pack_bytes, unpack_bytes
from tests.helpers.factories import spec, tensor, work
from worker.serving import batch_tensors
from worker.serving.queued_request import QueuedRequest


def rows(*values: float, **changes: object) -> QueuedRequest:
    """A request with one row of two numbers for each value."""
    array = np.array([[v, -v] for v in values], "<f4")
    return work(array, **changes)


def split(outputs: dict[str, np.ndarray], batch: list[QueuedRequest], *specs) -> list:
    timings = [Timing(n, 7, len(batch)) for n in range(len(batch))]
    return batch_tensors.split(outputs, specs or [spec("y", "FP32", [-1, 2])], batch, timings)


def texts(*items: bytes, shape: list[int] | None = None) -> Tensor:
    return Tensor("t", "BYTES", shape or [len(items)], memoryview(pack_bytes(list(items))))


@pytest.mark.parametrize("datatype", sorted(datatypes.NUMPY))
def test_a_tensor_becomes_an_array_without_a_copy(datatype: str) -> None:
    """It is a view of the received bytes."""
    size = datatypes.item_size(datatype)
    data = bytes(6 * size)
    array = batch_tensors.to_array(Tensor("x", datatype, [2, 3], memoryview(data)))
    assert (array.shape, array.dtype) == ((2, 3), datatypes.NUMPY[datatype])
    assert np.shares_memory(array, np.frombuffer(data, "u1"))


def test_texts_become_an_array_of_bytes() -> None:
    """Of any length, empty ones too; equal lengths make no other array."""
    array = batch_tensors.to_array(texts(b"a", b"", b"\xff\0", b"bcd", shape=[2, 2]))
    assert array.dtype == object
    assert array.tolist() == [[b"a", b""], [b"\xff\0", b"bcd"]]
    assert batch_tensors.to_array(texts(b"ab", b"cd")).tolist() == [b"ab", b"cd"]


def test_one_request_is_not_copied() -> None:
    """The device reads what came from Redis."""
    single = rows(1, 2)
    joined = batch_tensors.join([single])
    assert np.shares_memory(joined["x"], np.frombuffer(single.envelope.inputs[0].data, "<f4"))


def test_requests_are_stacked_in_their_order() -> None:
    """Each input by itself."""
    two = [
        work(envelope=Envelope([tensor(np.full((n, 2), n, "<f4"), "a"), texts(*[b"t"] * n)]))
        for n in (1, 2)
    ]
    joined = batch_tensors.join(two)
    assert joined["a"].tolist() == [[1, 1], [2, 2], [2, 2]]
    assert joined["t"].tolist() == [b"t"] * 3


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_each_request_gets_its_own_rows_back(counts: list[int]) -> None:
    """Through an identity, whatever the sizes: output i belongs to request i."""
    batch = [rows(*(100.0 * n + k for k in range(count))) for n, count in enumerate(counts)]
    outcomes = split({"y": batch_tensors.join(batch)["x"]}, batch)
    for sent, outcome, n in zip(batch, outcomes, range(len(batch)), strict=True):
        (got,) = outcome.outputs
        assert bytes(got.data) == bytes(sent.envelope.inputs[0].data)
        assert got.shape == sent.envelope.inputs[0].shape
        assert outcome.timing == Timing(n, 7, len(batch))


def test_texts_come_back_as_they_are() -> None:
    """Bytes and Python strings."""
    batch = [work(np.zeros((n, 2), "<f4")) for n in (1, 2)]
    output = np.array([b"\xff", "ä", b""], dtype=object)
    outcomes = split({"y": output}, batch, spec("y", "BYTES", [-1]))
    sent = [unpack_bytes(o.outputs[0].data) for o in outcomes]
    assert sent == [[b"\xff"], ["ä".encode(), b""]]
    half = np.array(["\ud800"], dtype=object)  # no character: a text cannot hold it
    (outcome,) = split({"y": half}, batch[:1], spec("y", "BYTES", [-1]))
    assert unpack_bytes(outcome.outputs[0].data) == [b"?"]


def test_the_callers_id_is_given_back() -> None:
    """To each its own."""
    batch = [rows(1, envelope=Envelope([tensor(np.zeros((1, 2), "<f4"))], id=i)) for i in "ab"]
    assert [o.id for o in split({"y": np.zeros((2, 2), "<f4")}, batch)] == ["a", "b"]


def test_only_the_outputs_wanted_are_sent() -> None:
    """All of them, in the manifest's order, if none is named."""
    specs = [spec("y", "FP32", [-1]), spec("z", "INT64", [-1])]
    outputs = {"z": np.zeros(1, "<i8"), "y": np.zeros(1, "<f4"), "extra": np.zeros(1)}
    for wanted, names in (([], ["y", "z"]), (["z"], ["z"]), (["z", "y"], ["y", "z"])):
        single = work(envelope=Envelope([tensor(np.zeros((1, 2), "<f4"))], wanted))
        assert [t.name for t in split(outputs, [single], *specs)[0].outputs] == names


def test_one_request_may_have_outputs_of_any_declared_shape() -> None:
    """A scalar, or fewer rows than came in, or none."""
    single = rows(1, 2, 3)
    for shape, declared in (([], []), ([1, 2], [-1, 2]), ([0, 2], [-1, 2]), ([2, 0], [2, -1])):
        output = np.full(shape, 7, "<f4")
        (outcome,) = split({"y": output}, [single], spec("y", "FP32", declared))
        assert outcome.outputs[0].shape == shape


@given(st.data(), st.lists(st.sampled_from([-1, 1, 2, 3]), max_size=4))
def test_a_shape_that_the_manifest_does_not_allow_is_refused(
    data: st.DataObject, declared: list[int]
) -> None:
    """A size or the number of dimensions: what comes, and what was to come, is said."""
    shape = data.draw(st.lists(st.sampled_from([0, 1, 2, 3]), max_size=4))
    fits = len(shape) == len(declared) and all(
        want in (-1, have) for have, want in zip(shape, declared, strict=True)
    )
    said = spec("y", "FP32", declared)
    if fits:
        assert split({"y": np.zeros(shape, "<f4")}, [rows(1)], said)[0].outputs[0].shape == shape
        return
    with pytest.raises(ModelFailed, match="output 'y'") as refused:
        split({"y": np.zeros(shape, "<f4")}, [rows(1)], said)
    assert refused.value.message.endswith(f"shape {shape}, the manifest says {declared}")


def test_of_a_batch_each_part_has_to_fit() -> None:
    """The rows are counted over all of it, the other sizes are those of each request."""
    batch = [rows(1), rows(2)]
    with pytest.raises(ModelFailed, match=r"'y': shape \[1, 3\], the manifest says \[-1, 2\]"):
        split({"y": np.zeros((2, 3), "<f4")}, batch)
    with pytest.raises(ModelFailed, match=r"'y': shape .* the manifest says"):
        split({"y": np.zeros((2, 2, 1), "<f4")}, batch)


@pytest.mark.parametrize(
    ("output", "datatype"),
    [
        (None, "FP32"), (np.zeros((2, 2), "<f8"), "FP32"), (np.zeros((2, 2), ">f4"), "FP32"),
        (np.zeros((3, 2), "<f4"), "FP32"), (np.zeros((), "<f4"), "FP32"),
        (np.array([b"a", 7], object), "BYTES"), (np.array([b"a", None], object), "BYTES"),
        (np.zeros(2, "<f4"), "BYTES"),
    ],
    ids=["missing", "wrong type", "big-endian", "too many rows", "scalar", "a number among texts",
         "None", "numbers for texts"],
)  # fmt: skip
def test_outputs_that_do_not_fit_are_the_models_failure(
    output: np.ndarray | None, datatype: str
) -> None:
    """The output is named. In a batch, the requests run alone then."""
    batch = [rows(1), rows(2)]
    outputs = {} if output is None else {"y": output}
    with pytest.raises(ModelFailed, match="'y'"):
        split(outputs, batch, spec("y", datatype, [-1]))
