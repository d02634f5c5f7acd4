"""`warmroute push` into a real file:// repository, from real model files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from deploy.cli.main import main
from shared.repository import open_repository
from tests.deploy.cli.pushing import manifest, push
from tests.helpers.paths import PYTHONPATH

pytestmark = pytest.mark.usefixtures("repository")


def test_a_pt2_becomes_program_and_weights(
    repository: str, pt2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Specs come from the file, names from the command line; no file needs unpickling."""
    done = push(capsys, "net", "--file", pt2, "--output", "y", "--max-batch", 8)
    assert (done["version"], done["platform"]) == (1, "pytorch_program")
    published = manifest(repository, "net", 1)
    assert [(s.name, s.datatype, s.shape) for s in published.inputs] == [("input", "FP32", [-1, 4])]
    assert [(s.name, s.shape) for s in published.outputs] == [("y", [-1, 3])]
    assert published.batching.max_size == 8
    endings = {Path(entry.name).suffix for entry in published.files}
    assert endings == {".json", ".safetensors"}


def test_pushing_the_same_again_sends_nothing_and_a_change_makes_a_new_version(
    pt2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Idempotent, and versions never change."""
    first = push(capsys, "net", "--file", pt2)
    again = push(capsys, "net", "--file", pt2)
    assert (first["bytes_sent"] > 0, again["bytes_sent"], again["version"]) == (True, 0, 1)
    changed = push(capsys, "net", "--file", pt2, "--max-batch", 2)
    assert (changed["version"], changed["bytes_sent"]) == (2, 0)


def test_a_version_that_holds_something_else_is_not_overwritten(
    pt2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An explicit --version that exists with other content ends with status 1."""
    push(capsys, "net", "--file", pt2)
    arguments = ["push", "net", "--file", str(pt2), "--version", "1", "--max-batch", "2"]
    assert main(arguments) == 1
    assert "version 1" in capsys.readouterr().err


def test_a_module_and_its_weights_become_program_and_weights(
    repository: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two sets of weights for one factory share their program."""
    for seed in (1, 2):
        random = np.random.default_rng(seed)
        shapes = {"one.weight": (8, 4), "one.bias": (8,), "two.weight": (3, 8), "two.bias": (3,)}
        state = {name: torch.from_numpy(random.random(s, np.float32)) for name, s in shapes.items()}
        save_file(state, tmp_path / "w.safetensors")
        source = ["--module", "nets:Net", "--weights", "w.safetensors"]
        push(capsys, f"net-{seed}", *source, "--input", "x:FP32:-1,4", "--output", "y")
    one, two = (manifest(repository, f"net-{seed}", 1) for seed in (1, 2))
    assert one.file("program.json") == two.file("program.json")
    assert one.files != two.files
    assert (one.inputs[0].shape, one.outputs[0].name) == ([-1, 4], "y")


def test_a_size_that_the_module_fixes_is_told_before_anything_is_published(
    repository: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user says it varies, the export says it does not."""
    assert main(["push", "fixed", "--module", "nets:Fixed", "--input", "x:FP32:-1,4"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert open_repository(repository).list_models() == []


def test_onnx_says_itself_what_it_takes(
    repository: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names, datatypes and varying sizes come from the model."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "m.onnx")
    assert push(capsys, "relu", "--file", "m.onnx")["platform"] == "onnxruntime_onnx"
    assert manifest(repository, "relu", 1).inputs[0].shape == [-1, 2]


def test_a_corrupt_file_is_an_error_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a traceback of torch."""
    (tmp_path / "bad.pt2").write_bytes(b"no zip")
    assert main(["push", "m", "--file", "bad.pt2"]) == 2
    assert capsys.readouterr().err.startswith("warmroute: bad.pt2: ")


def test_without_a_repository_it_says_which_setting_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """MODEL_REPOSITORY or --repository."""
    monkeypatch.delenv("MODEL_REPOSITORY")
    assert main(["push", "m", "--file", "x.pt2"]) == 2
    assert "MODEL_REPOSITORY" in capsys.readouterr().err


def test_a_push_that_was_killed_is_taken_up_again(
    repository: str, pt2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Blobs without a manifest are no version; the next push sends only what is missing."""
    push(capsys, "net", "--file", pt2)
    folder = Path(repository.removeprefix("file://"))
    (folder / "net" / "1" / "manifest.json").unlink()
    assert open_repository(repository).list_versions("net") == []
    assert push(capsys, "net", "--file", pt2)["bytes_sent"] == 0


def test_the_command_runs_as_a_process(pt2: Path) -> None:
    """`python -m deploy.cli push`, with a table for people."""
    command = [sys.executable, "-m", "deploy.cli", "push", "net", "--file", str(pt2)]
    env = {**os.environ, "PYTHONPATH": PYTHONPATH}
    run = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().splitlines()[-1].split()[:3] == ["net", "1", "pytorch_program"]


def test_a_folder_with_files_of_another_server_is_said(
    repository: str, pt2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are not part of the version, although its folder has them."""
    folder = Path(repository.removeprefix("file://")) / "net"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").touch()
    (folder / "config.pbtxt").touch()
    (note,) = [text for text in push(capsys, "net", "--file", pt2)["notes"] if "pbtxt" in text]
    assert "1/model.onnx, config.pbtxt" in note and "no version uses them" in note
