"""The messages between gateway and worker."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import datatypes
from shared.envelope import (
    USUAL,
    Envelope,
    Outcome,
    Tensor,
    Timing,
    pack,
    unpack_envelope,
    unpack_outcome,
)
from tests.helpers.factories import tensor


def test_a_request_comes_back_whole() -> None:
    """Inputs in their order, wanted outputs, the caller's id, trace and priority."""
    sent = Envelope(
        [tensor(np.arange(6, dtype="<i8").reshape(2, 3), "a"), tensor(np.ones(1, "<f4"), "b")],
        ["y"], "my id", "00-" + "1" * 32 + "-" + "2" * 16 + "-01", 1,
    )  # fmt: skip
    assert unpack_envelope(pack(sent)) == sent


def test_an_outcome_comes_back_whole() -> None:
    """With where the time went."""
    sent = Outcome([tensor(np.zeros((1, 2), "<f8"), "y")], "my id", Timing(10, 20, 3))
    assert unpack_outcome(pack(sent)) == sent


def test_no_tensor_is_copied_when_decoded() -> None:
    """Its data is a view of the received bytes."""
    raw = pack(Envelope([tensor(np.arange(1000, dtype="<f4"))]))
    data = unpack_envelope(raw).inputs[0].data
    assert isinstance(data, memoryview)
    assert data.obj is raw


@given(st.binary(max_size=200))
def test_garbage_is_refused_as_garbage(raw: bytes) -> None:
    """msgspec's error, or a refused text, and no other; a message that parses is packed again."""
    for unpack in (unpack_envelope, unpack_outcome):
        try:
            message = unpack(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        assert unpack(pack(message)) == message


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_message_cut_short_is_refused(cut: int) -> None:
    """It is never taken for a smaller one."""
    raw = pack(Envelope([tensor(np.arange(10, dtype="<f4"))], ["y"], "id"))
    with pytest.raises(msgspec.MsgspecError):
        unpack_envelope(raw[:-cut])


def test_the_wire_form_does_not_change_by_accident() -> None:
    """An older gateway or worker must be able to read it."""
    request = Envelope([Tensor("x", "FP32", [1], memoryview(b"\0\0\x80?"))], ["y"], "i", "t")
    assert pack(request).hex() == (
        "95" "91" "94" "a178" "a446503332" "9101" "c404" "0000803f" "91" "a179" "a169" "a174" "05"
    )  # fmt: skip
    outcome = Outcome([], "i", Timing(1, 2, 3))
    assert pack(outcome).hex() == "9390a16993010203"


def test_a_newer_peer_may_add_fields_at_the_end() -> None:
    """They are passed over."""
    raw = msgspec.msgpack.encode([[], [], "id", "", 5, "new"])
    assert unpack_envelope(raw) == Envelope([], [], "id")


def test_what_an_older_gateway_packed_has_the_usual_priority() -> None:
    """It ends before the field."""
    raw = msgspec.msgpack.encode([[], ["y"], "id", "trace"])
    assert unpack_envelope(raw) == Envelope([], ["y"], "id", "trace", USUAL)


@pytest.mark.parametrize("name", sorted(datatypes.NUMPY))
def test_every_datatype_has_its_size_and_its_numpy_form(name: str) -> None:
    """Little-endian; numpy has no bfloat16, which travels as its bits."""
    dtype = datatypes.NUMPY[name]
    assert datatypes.item_size(name) == dtype.itemsize
    assert dtype.byteorder in "<|="
    back = "UINT16" if name == "BF16" else name
    assert datatypes.from_numpy(dtype) == back
    assert datatypes.from_numpy(dtype.newbyteorder(">")) == back


def test_what_has_no_datatype_is_an_error() -> None:
    """BYTES has no size, complex numbers no name."""
    with pytest.raises(KeyError):
        datatypes.item_size("BYTES")
    with pytest.raises(KeyError):
        datatypes.from_numpy(np.dtype("c8"))
