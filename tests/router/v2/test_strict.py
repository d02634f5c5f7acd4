"""JSON that two readers could take in two ways, or that only looks like JSON, is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.v2.request import parse
from shared.errors import InvalidInput
from tests.helpers.factories import manifest, spec

TENSOR = '{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}'
TEXTS = manifest(inputs=[spec("t", "BYTES", [-1])], outputs=[spec("y", "FP32", [-1])])


def refused(body: str | bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse(body.encode() if isinstance(body, str) else body, None, manifest())
    return caught.value.message


def texts(*items: str, **more: Any) -> bytes:
    tensor = {"name": "t", "datatype": "BYTES", "shape": [len(items)], "data": items}
    return json.dumps({"inputs": [tensor], **more}).encode()


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ('{"inputs": [' + TENSOR + '], "inputs": [' + TENSOR + "]}", "inputs"),
        ('{"inputs": [' + TENSOR + '], "id": "a", "id": "b"}', "id"),
        ('{"id": "", "inputs": [' + TENSOR + '], "id": "b"}', "id"),
        ('{"inputs": [' + TENSOR[:-1] + ', "data": [3, 4]}]}', "data"),
        ('{"inputs": [' + TENSOR[:-1] + ', "shape": [1, 2]}]}', "shape"),
        ('{"inputs": [' + TENSOR + '], "parameters": {"timeout": 1, "timeout": 2}}', "timeout"),
        ('{"inputs": [' + TENSOR + '], "parameters": {"a": {"b": 1, "b": 1}}}', "b"),
        ('{"inputs": [' + TENSOR + '], "more": {"b": 1, "b": 1}}', "b"),
        ('{"inputs": [' + TENSOR + '], "outputs": [{"name": "y", "name": "y"}]}', "name"),
        ('{"inputs": [' + TENSOR + '], "\\u0069d": "a", "id": "b"}', "id"),
    ],
)
def test_a_key_given_twice_is_refused(body: str, key: str) -> None:
    """Wherever it is, also written with escapes; the key is named."""
    assert f"{key!r} is given twice" in refused(body)


def test_a_key_twice_beside_large_data_is_found() -> None:
    """What the data looks like does not matter."""
    items = ["a:b" * 5000, '"id": 1, "id": 2']
    with pytest.raises(InvalidInput, match="'id' is given twice"):
        parse(texts(*items)[:-1] + b', "id": "a", "id": "b"}', None, TEXTS)


@pytest.mark.parametrize(
    "more",
    [
        {}, {"id": "urn:uuid:1"}, {"parameters": {"a": {"b": {"a": 1}}}}, {"unknown": {"id": 1}},
        {"outputs": [{"name": "y", "parameters": {"binary_data": False}}]}, {"outputs": None},
        {"parameters": {}}, {"id": "", "parameters": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_given_once_is_taken(more: dict[str, Any]) -> None:
    """Colons in texts, nested and unknown fields, and nulls are no second keys."""
    assert parse(texts("a:b", '{"id": 1}', **more), None, TEXTS).envelope.inputs[0].shape == [2]


@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1,
             max_size=4),
    st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 9) | st.just({"a": 1})),
    st.booleans(),
)  # fmt: skip
def test_no_honest_request_is_taken_for_one_with_a_key_twice(
    items: list[str], unknown: dict[str, Any], ascii_only: bool
) -> None:
    """Whatever its texts and its unknown fields hold."""
    body = {"inputs": json.loads(texts(*items))["inputs"], "x-more": unknown}
    raw = json.dumps(body, ensure_ascii=ascii_only).encode()
    if b"\\u0000" not in raw:
        assert parse(raw, None, TEXTS).envelope.inputs[0].shape == [len(items)]


@given(st.integers(0, 4), st.sampled_from(["name", "datatype", "shape", "data"]))
def test_every_second_key_is_found(at: int, key: str) -> None:
    """Wherever it stands in its object."""
    fields = [(k, v) for k, v in json.loads(TENSOR).items()]
    fields.insert(at, (key, json.loads(TENSOR)[key]))
    tensor = ", ".join(f'"{name}": {json.dumps(value)}' for name, value in fields)
    assert f"{key!r} is given twice" in refused('{"inputs": [{' + tensor + "}]}")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_json_in_another_encoding_is_refused(encoding: str) -> None:
    """And told which is wanted."""
    assert "UTF-8" in refused(('{"inputs": [' + TENSOR + "]}").encode(encoding))


@pytest.mark.parametrize("text", ["\\ud800", "a\\uDBFFb", "\\udc00\\ud800"])
@pytest.mark.parametrize("where", ["id", "data"])
def test_half_of_a_surrogate_pair_is_refused(text: str, where: str) -> None:
    """It has no UTF-8, so an answer with it could not be written."""
    body = texts("HERE") if where == "data" else texts("a", id="HERE")
    with pytest.raises(InvalidInput, match="surrogate"):
        parse(body.replace(b"HERE", text.encode()), None, TEXTS)


@pytest.mark.parametrize("more", [{"id": "HERE"}, {"parameters": {"p": ["HERE"]}}, {"HERE": 1}])
def test_nul_in_a_string_is_refused(more: dict[str, Any]) -> None:
    """Escaped; a bare one is no JSON. A backslash before it is not its escape."""
    body = texts("a", **more)
    with pytest.raises(InvalidInput, match="NUL"):
        parse(body.replace(b"HERE", b"a\\u0000"), None, TEXTS)
    with pytest.raises(InvalidInput, match="NUL"):
        parse(body.replace(b"HERE", b"\\\\\\u0000"), None, TEXTS)
    with pytest.raises(InvalidInput, match="body"):
        parse(body.replace(b"HERE", b"a\0b"), None, TEXTS)
    parse(body.replace(b"HERE", b"\\\\u0000"), None, TEXTS)


def test_an_element_of_bytes_may_hold_nul() -> None:
    """It is bytes. The same text elsewhere in the request is no element."""
    (sent,) = parse(texts("\0a\0", "\0"), None, TEXTS).envelope.inputs
    assert bytes(sent.data) == b"\3\0\0\0\0a\0\1\0\0\0\0"
    with pytest.raises(InvalidInput, match="NUL"):
        parse(texts("\0", parameters={"p": ["\0"]}), None, TEXTS)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_of_json_is_refused(number: str) -> None:
    """In data or anywhere, with the way to send it."""
    assert "NaN and Infinity" in refused(
        '{"inputs": [' + TENSOR.replace("2]}", f"{number}]}}") + "]}"
    )
    assert number.strip("-")[:3] in refused('{"inputs": [' + TENSOR + '], "more": ' + number + "}")


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
@pytest.mark.parametrize("where", ["data", "parameters", "unknown"])
def test_a_number_that_is_infinite_once_read_is_refused(number: str, where: str) -> None:
    """Python's own reader would take it."""
    bodies = {
        "data": '{"inputs": [' + TENSOR.replace("2]}", f"{number}]}}") + "]}",
        "parameters": '{"inputs": [' + TENSOR + '], "parameters": {"a": ' + number + "}}",
        "unknown": '{"inputs": [' + TENSOR + '], "more": ' + number + "}",
    }
    assert "number" in refused(bodies[where]).lower()


@pytest.mark.parametrize("priority", [-1, 10, 1.0, True, "1", None, 10**30])
def test_a_priority_out_of_range_is_refused(priority: object) -> None:
    """The field and its limit are named."""
    more = ', "parameters": {"priority": ' + json.dumps(priority) + "}}"
    message = refused('{"inputs": [' + TENSOR + "]" + more)
    assert "priority" in message or "range" in message


@pytest.mark.parametrize(("given_", "meant"), [(0, 5), (1, 1), (9, 9)])
def test_a_priority_goes_to_the_worker(given_: int, meant: int) -> None:
    """0 is the usual one, as in Triton."""
    body = '{"inputs": [' + TENSOR + '], "parameters": {"priority": ' + str(given_) + "}}"
    assert parse(body.encode(), None, manifest()).envelope.priority == meant
