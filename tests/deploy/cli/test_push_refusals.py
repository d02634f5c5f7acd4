"""What `warmroute push` refuses: one sentence that says why, and nothing is published."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deploy.cli.main import main
from shared.repository import open_repository
from tests.deploy.cli.pushing import manifest, push

pytestmark = pytest.mark.usefixtures("repository")


@pytest.fixture
def strange_files(tmp_path: Path) -> None:
    """What people push that is no model."""
    (tmp_path / "needs.py").write_text("import not_installed")
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "pickled.pt")
    torch.save({}, tmp_path / "pickled.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "raw.bin").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "pretrained").mkdir()
    (tmp_path / "pretrained" / "config.json").write_text("{}")
    save_file({"w": torch.ones(1)}, tmp_path / "w.safetensors")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script of two inputs and a dict as its answer, under an ending that others write."""

    class Apart(torch.nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"less": a - b, "more": a + b}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Apart()).eval().save(str(tmp_path / "m.torchscript"))
    return tmp_path / "m.torchscript"


def test_torchscript_needs_to_be_told(
    repository: str, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --input it ends with status 2 and says what forward() takes."""
    assert main(["push", "ts", "--file", str(script)]) == 2
    assert "forward() takes a (Tensor), b (Tensor)" in capsys.readouterr().err
    inputs = ["--input", "b:FP32:-1", "--input", "a:FP32:-1"]
    push(capsys, "ts", "--file", script, *inputs, "--output", "more:FP32:-1")
    assert manifest(repository, "ts", 1).platform == "pytorch_torchscript"


@pytest.mark.parametrize("inputs", [["x:FP32:-1", "b:FP32:-1"], ["a:FP32:-1"]])
def test_names_that_forward_does_not_have_are_refused_with_those_it_has(
    inputs: list[str], repository: str, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is published."""
    options = [part for text in inputs for part in ("--input", text)]
    assert main(["push", "ts", "--file", str(script), *options, "--output", "less:FP32:-1"]) == 2
    assert "forward()" in capsys.readouterr().err
    assert open_repository(repository).list_models() == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--file, --module and --architecture"),
        (["--file", "no.pt2"], "no such file"),
        (["--file", "nets.py"], "want one of .pt2"),
        (["--module", "nets", "--input", "x:FP32:1"], "PACKAGE.MODULE:FACTORY"),
        (["--module", "nowhere:f", "--input", "x:FP32:1"], "nowhere"),
        (["--architecture", "bert_encoder"], "--weights"),
        (["--module", "nets:Net"], "give an --input"),
        (["--module", "nets:Net", "--input", "z:FP32:-1,4"], "forward() has no 'z', it has 'x'"),
        (["--module", "nets:Net", "--input", "x"], "datatype and shape"),
        (["--module", "nets:gone", "--input", "x:FP32:1"], "nets has no 'gone'"),
        (["--module", "nets:number", "--input", "x:FP32:1"], "it is a int"),
        (["--module", "nets:function", "--input", "x:FP32:1"], "got a function"),
        (["--module", "nets:broken", "--input", "x:FP32:1"], "broken() raised KeyError: 'gpu'"),
        (["--module", "needs:f", "--input", "x:FP32:1"], "No module named 'not_installed'"),
        (["--module", "nets:Decides", "--input", "x:FP32:4"], "TorchScript or ONNX"),
        (["--module", "nets:Net", "--input", "x:FP32:-1,4", "--size", "a=1"], "--size goes with"),
        (["--file", "no.pt2", "--weights", "w.safetensors"], "--weights goes with"),
        (["--module", "nets:Net", "--format", "whole"], "--format goes with"),
        (["--file", "pickled.pt"], "a pickle, which is never loaded"),
        (["--file", "pickled.pth"], "a pickle, which is never loaded"),
        (["--file", "raw.bin"], "a pickle, which is never loaded"),
        (["--file", "pretrained"], "save_pretrained"),
        (["--file", "."], "a folder"),
        (["--file", "w.safetensors"], "--weights, with --module"),
        (["--file", "net.pt2", "--input", "a,b"], "without space, comma"),
        (["--file", "net.pt2", "--input", "x"], "no 'x', it has 'input'"),
        (["--file", "net.pt2", "--input", "input:INT64:-1,4"], "it is FP32 [-1, 4]"),
        (["--file", "net.pt2", "--input", "input:FP32:-1,5"], "it is FP32 [-1, 4]"),
        (["--file", "net.pt2", "--output", "y:FP32:-1,4"], "it is FP32 [-1, 3]"),
        (["--file", "net.pt2", "--max-batch", "0"], "--max-batch: 0"),
        (["--file", "net.pt2", "--wait", "--timeout", "0"], "--timeout: 0"),
        (["--file", "net.pt2", "--version", "0"], "--version: 0"),
    ],
)
@pytest.mark.usefixtures("pt2", "strange_files")
def test_a_wrong_use_is_one_sentence_and_status_2(
    arguments: list[str], told: str, repository: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is published."""
    assert main(["push", "m", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1
    assert open_repository(repository).list_models() == []
