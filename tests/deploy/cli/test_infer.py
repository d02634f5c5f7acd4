"""`warmroute infer`: every way to give an input, and the ways to get the outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from deploy.cli.answers import as_document, preview, save
from deploy.cli.errors import CannotDo
from deploy.cli.main import main
from warmroute import Result

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub

usefixtures = pytest.mark.usefixtures("gateway")


@usefixtures
def test_inputs_from_the_command_line_take_the_models_datatype(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """JSON numbers reach an FP32 model as FP32."""
    assert main(["infer", "double", "--input", "input=[[1, 2.5]]"]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert line.split() == ["output", "float32", "1x2", "2,", "5"]


@usefixtures
def test_inputs_from_a_file_and_outputs_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """name=@file.npy, and --json tells worker and cold too."""
    np.save(tmp_path / "x.npy", np.float32([[3, 4]]))
    assert main(["infer", "double", "--input", f"input=@{tmp_path}/x.npy", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["outputs"] == {"output": [[6.0, 8.0]]}
    assert (document["worker"], document["cold"]) == ("w1", False)


@usefixtures
def test_outputs_can_be_saved(tmp_path: Path) -> None:
    """--save writes an .npz that needs no pickle."""
    saved = tmp_path / "out.npz"
    assert main(["infer", "double", "--input", "input=[[1, 2]]", "--save", str(saved)]) == 0
    with np.load(saved, allow_pickle=False) as outputs:
        np.testing.assert_array_equal(outputs["output"], [[2, 4]])


@usefixtures
def test_a_ragged_list_is_the_callers_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, before anything is sent."""
    assert main(["infer", "double", "--input", "input=[[1], [2, 3]]"]) == 2
    assert "input 'input': the list is ragged" in capsys.readouterr().err


@usefixtures
@pytest.mark.parametrize("value", ["[[9e400, 1]]", "[[1, 2", "hello", "[[true, 1]]", "[[1e39, 1]]"])
def test_numbers_that_are_none_are_the_callers_mistake(
    gateway: Stub, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2 and one sentence, and nothing is sent but the question what the model takes."""
    assert main(["infer", "double", f"input={value}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("warmroute: input") and said.count("\n") == 1
    assert {method for method, *_ in gateway.seen} == {"GET"}


@usefixtures
def test_without_inputs_it_says_which_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    """Name, datatype and shape."""
    assert main(["infer", "double"]) == 2
    assert "input, FP32 [-1, 2]" in capsys.readouterr().err


@usefixtures
def test_nan_and_infinity_go_there_and_back(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has no such numbers, so --json has them as text."""
    assert main(["infer", "double", "input=[[NaN, -Infinity]]", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"] == {"output": [["NaN", "-Infinity"]]}


@usefixtures
@pytest.mark.parametrize("name", ["nowhere/out.npz", "."])
def test_a_file_that_cannot_be_written_is_found_before_anything_runs(
    gateway: Stub, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model's work would be lost."""
    arguments = ["infer", "double", "input=[[1, 2]]", "--save", str(tmp_path / name)]
    assert main(arguments) == 2
    assert "--save" in capsys.readouterr().err and gateway.seen == []


def test_previews_show_the_first_values_of_any_type() -> None:
    """Long outputs end in dots; bytes are shown as text."""
    assert preview(np.arange(10)) == "0, 1, 2, 3, 4, 5, 6, 7, ..."
    assert preview(np.array([b"cat"], object)) == "cat"
    assert preview(np.float32([0.1])) == "0.1"


def test_bytes_outputs_are_saved_without_pickle(tmp_path: Path) -> None:
    """As fixed-width bytes."""
    result = Result({"word": np.array([b"a", b"bcd"], object)}, model="m")
    save(tmp_path / "o.npz", result)
    with np.load(tmp_path / "o.npz", allow_pickle=False) as outputs:
        assert outputs["word"].tolist() == [b"a", b"bcd"]


def test_outputs_are_saved_under_any_name_and_any_file_name(tmp_path: Path) -> None:
    """`file` is a word of numpy's own, and .npz is not put behind what was asked for."""
    save(tmp_path / "out", Result({"file": np.int8([1]), "a/b": np.int8([2])}, model="m"))
    with np.load(tmp_path / "out") as outputs:
        assert {name: outputs[name].tolist() for name in outputs} == {"file": [1], "a/b": [2]}


def test_bytes_that_a_file_would_cut_are_refused(tmp_path: Path) -> None:
    """numpy's fixed width forgets zero bytes at the end."""
    with pytest.raises(CannotDo, match="word"):
        save(tmp_path / "o.npz", Result({"word": np.array([b"a\0"], object)}, model="m"))
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_no_text_keep_their_value_in_json() -> None:
    """As base64."""
    result = Result({"y": np.array([b"ok", b"\xff"], object)}, model="m")
    assert as_document(result)["outputs"] == {"y": ["ok", {"base64": "/w=="}]}
