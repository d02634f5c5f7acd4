"""Model names, versions and references: what gets through, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput, NotFound
from shared.names import ModelRef, check_model_name, parse_version

GOOD = ["a", "MiniLM-L6_v2", "bert.base", "7b", "a" * 128, "x-", "blobs2"]
BAD = [
    "", ".", "..", "a..b", ".hidden", "-a", "_a", "a/b", "../etc/passwd", "..%2fetc", "a\\b", "a b",
    " a", "a ", "a\n", "a\x00", "\x7f", "ä", "模型", "\U0001f600", "a:b", "{a}", "a*", "a" * 129,
    "a" * 10_000, "blobs", "payloads", "a\u0660",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_good_name_is_given_back(name: str) -> None:
    """Letters, digits, dot, underscore and hyphen, up to 128 of them."""
    assert check_model_name(name) == name


@pytest.mark.parametrize("name", BAD, ids=lambda name: repr(name[:12]))
def test_a_bad_name_is_refused_with_the_rule(name: str) -> None:
    """The message names the field, is short, and shows no raw control character."""
    with pytest.raises(InvalidInput, match="model name") as caught:
        check_model_name(name)
    assert len(caught.value.message) < 300
    assert caught.value.message.isprintable()


@given(st.text(max_size=200))
def test_whatever_passes_is_safe_in_a_path_and_in_a_key(name: str) -> None:
    """No separator, no parent, no hash tag, ASCII only."""
    try:
        check_model_name(name)
    except InvalidInput:
        return
    assert name.isascii() and not set(name) & set("/\\:{}%\0 ") and ".." not in name
    assert not name.startswith(".")


@pytest.mark.parametrize("text", ["1", "42", "999999999"])
def test_a_version_is_a_positive_integer(text: str) -> None:
    """As the repository writes it."""
    assert parse_version(text) == int(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "01",
        "-1",
        "+1",
        "1.0",
        "1 ",
        "1\n",
        "x",
        "1e3",
        "٣",
        "\uff11",
        "1" * 10,
        "9" * 9999,
    ],
)
def test_anything_else_is_a_version_that_does_not_exist(text: str) -> None:
    """Other spellings of a number too: one version has one name."""
    with pytest.raises(NotFound, match="version"):
        parse_version(text)


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True),
    st.integers(1, 999_999_999),
    st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
)
def test_a_reference_is_read_back(name: str, version: int, digest: str) -> None:
    """`str` and `parse` are inverse."""
    ref = ModelRef(name, version, digest)
    try:
        check_model_name(name)
    except InvalidInput:
        return
    assert ModelRef.parse(str(ref)) == ref


@pytest.mark.parametrize(
    "text",
    ["", "m", "m:1", "m:1:", "m:0:0123456789ab", "m:1:0123456789AB", "m:1:0123456789abc",
     "m:1:0123456789ab\n", "a/b:1:0123456789ab", ":1:0123456789ab", "m::0123456789ab"],
)  # fmt: skip
def test_a_broken_reference_is_refused(text: str) -> None:
    """It says what a reference looks like, or which part is wrong."""
    with pytest.raises(InvalidInput):
        ModelRef.parse(text)
