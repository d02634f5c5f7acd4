"""Valid responses cut, changed or extended at random: the right answer, or BadResponse."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.deploy.client.responses import parts, response, valid
from warmroute import BadResponse, ClientError
from warmroute.encoding import HEADER_LENGTH
from warmroute.response import Response
from warmroute.result import Result, read_result


def same(one: Result, other: Result) -> bool:
    return (one.model, one.version, one.outputs.keys()) == (
        other.model, other.version, other.outputs.keys()
    ) and all(
        np.array_equal(one[name], other[name]) and one[name].dtype == other[name].dtype
        for name in one
    )  # fmt: skip


@given(st.data())
def test_a_response_that_is_cut_anywhere_is_an_error(data: st.DataObject) -> None:
    """Whatever header length a proxy makes of it: never a result with less in it."""
    whole = valid()
    at = data.draw(st.integers(0, len(whole.body) - 1))
    length = data.draw(st.sampled_from([whole.headers[HEADER_LENGTH], str(at), None]))
    headers = {} if length is None else {HEADER_LENGTH: length}
    with pytest.raises(BadResponse):
        read_result(Response(200, headers, whole.body[:at]))


@given(st.data())
def test_bytes_that_are_changed_give_an_error_or_a_whole_result(data: st.DataObject) -> None:
    """Replaced, inserted and removed: every array has its shape, and no other error is raised."""
    whole = valid()
    body = bytearray(whole.body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        kept = data.draw(st.sampled_from([0, 1]))
        body[at : at + kept] = data.draw(st.binary(max_size=3))
        if not body:
            break
    length = data.draw(st.sampled_from([int(whole.headers[HEADER_LENGTH]), len(body)]))
    try:
        result = read_result(Response(200, {HEADER_LENGTH: str(length)}, bytes(body)))
    except ClientError as error:
        assert isinstance(error, BadResponse) and error.field
    else:
        _consistent(result, json.loads(bytes(body[:length])))


@given(st.data())
def test_json_that_is_changed_gives_an_error_or_a_whole_result(data: st.DataObject) -> None:
    """Any value of the header replaced by any other: nothing but BadResponse, nothing shortened."""
    head, blobs = parts()
    head = copy.deepcopy(head)
    place: Any = head
    while True:
        key = data.draw(
            st.sampled_from(list(place) if isinstance(place, dict) else range(len(place)))
        )
        inner = place[key]
        if isinstance(inner, dict | list) and inner and data.draw(st.booleans()):
            place = inner
            continue
        break
    place[key] = data.draw(st.none() | st.booleans() | st.integers() | st.text(max_size=3)
                           | st.lists(st.integers(-1, 9), max_size=3) | st.just({}))  # fmt: skip
    try:
        result = read_result(response(head, blobs))
    except ClientError as error:
        assert isinstance(error, BadResponse) and error.field
    else:
        _consistent(result, head)


def _consistent(result: Result, head: Any) -> None:
    assert list(result) == [output["name"] for output in head["outputs"]]
    for output in head["outputs"]:
        assert list(result[output["name"]].shape) == output["shape"]


@given(st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=3)))
def test_fields_of_a_newer_server_change_nothing(extra: dict[str, Any]) -> None:
    """In the header, in an output, in its parameters."""
    head, blobs = parts()
    known = {"data", "binary_data_size", "id", "parameters"}
    extra = {name: value for name, value in extra.items() if name not in known}
    for output in head["outputs"]:
        output["parameters"] = extra | output["parameters"]
    head["outputs"] = [extra | output for output in head["outputs"]]
    assert same(read_result(response(extra | head, blobs)), read_result(valid()))
