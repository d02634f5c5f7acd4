"""What a VALUE on the command line is taken for."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.cli.errors import WrongUse
from deploy.cli.inputs import NoJson, parse, read_inputs
from warmroute.casting import to_tensor


def read(value: str, datatype: str, shape: tuple[int, ...] = (-1,)) -> Any:
    """The value of the input `x` of a model that takes it as `datatype`."""
    described = {"inputs": [{"name": "x", "datatype": datatype, "shape": list(shape)}]}
    return read_inputs([f"x{value}"], described)["x"]


NAN = pytest.approx(np.nan, nan_ok=True)
LOOKS_LIKE_JSON = ["123", "true", "null", '"quoted"', "NaN", "", "a=b", "[1,2]", '{"a":1}', "[",
                   "[[1]", '["a",1]', "1e400", " x "]  # fmt: skip


@pytest.mark.parametrize("text", LOOKS_LIKE_JSON)
def test_text_for_a_text_input_is_itself(text: str) -> None:
    """Whatever it looks like."""
    assert to_tensor("x", read(f"={text}", "BYTES")).array.tolist() == [text.encode()]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_that_is_no_list_and_no_file_is_itself(text: str) -> None:
    """By any `=`."""
    if text.startswith("@") or text.lstrip().startswith("["):
        return
    assert to_tensor("x", read(f"={text}", "BYTES")).array.tolist() == [text.encode()]


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        ('=["a","b"]', [b"a", b"b"]),
        ('=["[1]"]', [b"[1]"]),
        ("=[]", []),
        (':="@file"', b"@file"),
        (':=["a"]', [b"a"]),
    ],
)
def test_a_json_list_of_strings_is_several(value: str, elements: Any) -> None:
    """And `:=` is JSON always, so that any text can be given."""
    assert to_tensor("x", read(value, "BYTES"), "BYTES").array.tolist() == elements


def test_text_has_as_many_dimensions_as_the_model() -> None:
    """One element in each."""
    assert read("=a", "BYTES", (-1, 1)).shape == (1, 1)
    assert read("=a", "BYTES", ()).shape == ()


@pytest.mark.parametrize(
    ("value", "datatype", "word"),
    [
        ("=[1,2", "FP32", "not JSON"), ("=hello", "FP32", "FP32"), ("=", "INT64", "not JSON"),
        ("=[1e400]", "FP64", "1e400"), (f"=[{'1' * 5000}]", "INT64", "digits"),
        ("=" + "[" * 5000, "FP32", "JSON|deeply"), (":=hello", "BYTES", "not JSON"),
        ("=[1e999999999]", "INT64", "1e999999999"), ("=@/no/such.npy", "FP32", "No such"),
        ("=@/no/such.json", "BYTES", "No such"), ("=@/", "BYTES", "directory"),
    ],
)  # fmt: skip
def test_what_is_no_value_is_one_sentence(value: str, datatype: str, word: str) -> None:
    """It names the input or the file."""
    with pytest.raises(WrongUse, match=word) as caught:
        read(value, datatype)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("value", "datatype", "got"),
    [
        ("=[9007199254740993]", "INT64", [2**53 + 1]),
        ("=[9007199254740993.0, 1e3]", "INT64", [2**53 + 1, 1000]),
        ("=[18446744073709551615]", "UINT64", [2**64 - 1]),
        ("=[0.1, 1]", "FP64", [0.1, 1.0]),
        ("=[[NaN, Infinity, -Infinity]]", "FP32", [[NAN, np.inf, -np.inf]]),
        ("=5", "INT8", 5),
        ("=[true]", "BOOL", [True]),
    ],
)  # fmt: skip
def test_numbers_arrive_as_they_are_written(value: str, datatype: str, got: Any) -> None:
    """Beyond what a float can hold, too."""
    assert to_tensor("x", read(value, datatype), datatype).array.tolist() == got


@given(st.recursive(st.floats() | st.integers(-(2**70), 2**70), st.lists, max_leaves=9))
def test_json_of_any_numbers_is_read_back_as_it_was(value: Any) -> None:
    """Integers whole, floats to the bit."""
    assert repr(
        parse(repr(value).replace("nan", "NaN").replace("inf", "Infinity"), "FP64")
    ) == repr(value)


@given(st.text())
def test_any_text_is_json_or_says_why_not(text: str) -> None:
    """No other error."""
    for datatype in ("INT64", "FP32"):
        try:
            parse(text, datatype)
        except NoJson as error:
            assert str(error)


def test_files_are_read_by_their_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays, JSON, and bytes for a text input; standard input is bytes or JSON."""
    np.save(tmp_path / "a.npy", np.int8([1]))
    np.savez(tmp_path / "a.npz", x=np.int8([2]), y=np.int8([3]))
    np.savez(tmp_path / "one.npz", other=np.int8([4]))
    (tmp_path / "a.json").write_text("[1]")
    (tmp_path / "a.wav").write_bytes(b"RIFF\xff")
    (tmp_path / "numbers.txt").write_text("[5]")
    assert read(f"=@{tmp_path}/a.npy", "FP32").tolist() == [1]
    assert read(f"=@{tmp_path}/a.npz", "FP32").tolist() == [2]
    assert read(f"=@{tmp_path}/one.npz", "FP32").tolist() == [4]
    assert read(f"=@{tmp_path}/a.json", "INT64") == [1]
    assert read(f"=@{tmp_path}/numbers.txt", "INT64") == [5]
    assert read(f"=@{tmp_path}/a.wav", "BYTES").tolist() == [b"RIFF\xff"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"[6]")))
    assert read("=@-", "FP32") == [6]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"[6]")))
    assert read("=@-", "BYTES").tolist() == [b"[6]"]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04", b"\x80\x04.", b"\xff\xfe"])
@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.json", "x.png"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, name: str) -> None:
    """Whatever numpy or JSON make of it."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WrongUse, match=name):
        read(f"=@{tmp_path / name}", "FP32")


def test_an_npy_file_with_objects_is_refused_not_unpickled(tmp_path: Path) -> None:
    """It could run code."""
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(WrongUse, match="pickle"):
        read(f"=@{tmp_path}/x.npy", "FP32")


@pytest.mark.parametrize("texts", [["x"], ["=1"], ["y=1"], ["x=1", "x=2"], []])
def test_names_are_those_of_the_model_once_each(texts: list[str]) -> None:
    """And without any it says which there are."""
    with pytest.raises(WrongUse):
        read_inputs(texts, {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]})


def test_a_name_may_have_a_colon() -> None:
    """As those of TensorFlow have."""
    described = {"inputs": [{"name": "in:0", "datatype": "FP32", "shape": [-1]}]}
    assert read_inputs(["in:0=[1]"], described) == {"in:0": [1]}
    assert read_inputs(["in:0:=[1]"], described) == {"in:0": [1]}
