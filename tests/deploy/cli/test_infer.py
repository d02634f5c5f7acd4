"""`warmroute infer`: every way to give an input, and the ways to get the outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deploy.cli.errors import WrongUse
from deploy.cli.infer import preview, read_input, save
from deploy.cli.main import main
from deploy.client import Result

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
    assert "inputs:" in capsys.readouterr().err


def test_each_form_of_value_is_read(tmp_path: Path) -> None:
    """JSON, text, and files by their ending."""
    (tmp_path / "a.json").write_text("[1]")
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    assert read_input("x=[1, 2]") == ("x", [1, 2])
    assert read_input("x=a=b")[1].tolist() == [b"a=b"]
    assert read_input(f"x=@{tmp_path}/a.json") == ("x", [1])
    assert read_input(f"x=@{tmp_path}/a.wav")[1].tolist() == [b"RIFF"]


@pytest.mark.parametrize("text", ["x", "=1", "x=@/no/such.npy", "x=@/no/such.json"])
def test_what_cannot_be_read_is_named(text: str) -> None:
    """WrongUse names the option or the file."""
    with pytest.raises(WrongUse, match=r"--input|/no/such"):
        read_input(text)


def test_an_npy_file_with_objects_is_refused_not_unpickled(tmp_path: Path) -> None:
    """It could run code."""
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(WrongUse, match="pickle"):
        read_input(f"x=@{tmp_path}/x.npy")


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
