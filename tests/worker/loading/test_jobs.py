"""A hostile job in the cold queue is no order: nothing that it names or carries is acted on."""

from __future__ import annotations

import json
import pickle
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.loading.jobs import MAX_JOB_BYTES, call_of

GOOD: list[Any] = ["warmroute.load", None, ["mnist:1:0123456789ab", "token"], {}]
HOSTILE: dict[str, Any] = {
    "a system command": ["os.system", None, ["touch /tmp/x"], {}],
    "a method of an instance": ["warmroute.load", "an instance", ["r", "t"], {}],
    "a name like ours": ["warmroute.load.x", None, ["r", "t"], {}],
    "too few arguments": ["warmroute.load", None, ["r"], {}],
    "no arguments": ["warmroute.load", None, None, {}],
    "arguments of another type": ["warmroute.load", None, ["r", 7], {}],
    "no call": {"a": 1},
    "a number": 7,
    "no JSON": b"hello",
    "nothing": b"",
    "no UTF-8": b"\xff\xfe[",
    "NaN": b'["warmroute.load", null, ["r", "t", NaN], {}]',
    "nested without end": b"[" * 4000,
    "pickle": pickle.dumps(GOOD),
    "packed": zlib.compress(json.dumps(GOOD).encode()),
    "too large": ["warmroute.load", None, ["r" * MAX_JOB_BYTES, "t"], {}],
}


def test_what_the_scripts_write_is_an_order() -> None:
    """A newer release may add arguments."""
    assert call_of(json.dumps(GOOD).encode()) == ("mnist:1:0123456789ab", "token")
    more = ["warmroute.load", None, ["r", "t", {"soon": 1}], {}]
    assert call_of(json.dumps(more).encode()) == ("r", "t")


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_job_is_no_order(case: str) -> None:
    """It is refused, with nothing but a ValueError."""
    data = HOSTILE[case]
    with pytest.raises(ValueError):
        call_of(data if isinstance(data, bytes) else json.dumps(data).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_an_order(data: bytes) -> None:
    """Nothing else is raised."""
    try:
        ref, token = call_of(data)
    except ValueError:
        return
    assert isinstance(ref, str) and isinstance(token, str)
