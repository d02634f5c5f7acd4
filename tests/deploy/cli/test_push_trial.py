"""`warmroute push` tries a model as a worker would, before anything is published."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from deploy.cli.main import main
from shared.manifest import Manifest, parse
from shared.repository import open_repository
from tests.helpers.scripts import MIXING_MODULES, Kernel, Odd, Poisoned, Scaled, Sleeps
from worker.trial.inputs import given

X, Y = ["--input", "x:FP32:-1,3"], ["--output", "y:FP32:-1,3"]


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TorchScript itself


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """MODEL_REPOSITORY names an empty folder, which is the current one."""
    url = f"file://{tmp_path}/repository"
    (tmp_path / "repository").mkdir()
    monkeypatch.setenv("MODEL_REPOSITORY", url)
    monkeypatch.setenv("WARMROUTE_TRUST_CODE", url)  # push has nothing to advise
    monkeypatch.chdir(tmp_path)
    return url


def script(module: torch.nn.Module) -> str:
    torch.jit.script(module.eval()).save("m.pt")
    return "m.pt"


def pushed(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[str]:
    """What push noted."""
    status = main(["push", "m", "--json", *map(str, arguments)])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    notes = json.loads(captured.out)["notes"]
    assert captured.err.splitlines()[-len(notes) :] == [f"warmroute: {n}" for n in notes]
    return notes


def refused(capsys: pytest.CaptureFixture[str], url: str, *arguments: object) -> str:
    """Why; nothing is published."""
    assert main(["push", "m", *map(str, arguments)]) != 0
    error = capsys.readouterr().err
    assert "Traceback" not in error and len(error.splitlines()) == 1
    assert open_repository(url).list_models() == []
    return error


def manifest(url: str) -> Manifest:
    return parse(open_repository(url).read_manifest("m", 1), name="m", version=1)


@pytest.mark.parametrize("name", MIXING_MODULES)
def test_a_model_that_mixes_rows_is_published_without_batches(
    name: str, repository: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Why is told. Without the option there is nothing to tell."""
    options = ["--file", script(MIXING_MODULES[name]()), *X, *Y]
    *_, note = pushed(capsys, *options, "--max-batch", 8)
    assert "may not share a batch" in note and "each request runs alone" in note
    assert manifest(repository).batching.max_size == 1
    assert pushed(capsys, *options) == []
    assert open_repository(repository).list_versions("m") == [1]


@pytest.mark.parametrize(("module", "datatype"), [(Poisoned, "FP32"), (Sleeps, "INT64")])
def test_a_row_unlike_all_others_is_tried_too(
    module: type[torch.nn.Module], datatype: str, repository: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """What a model looks for may be in no row near the example."""
    specs = ["--input", f"x:{datatype}:-1,3", "--output", f"y:{datatype}:-1,3"]
    (note,) = pushed(capsys, "--file", script(module()), *specs, "--max-batch", 8)
    assert "may not share a batch" in note
    assert manifest(repository).batching.max_size == 1


def test_what_may_be_left_out_is_left_out_of_the_trial(
    repository: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rows of the others are tried all the same."""
    options = ["--file", script(Scaled()), *X, "--input", "scale:FP32:-1,1", *Y, "--max-batch", 8]
    assert pushed(capsys, *options) == []
    assert manifest(repository).batching.max_size == 8


class Honest(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).softmax(1)


class Dice(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.dropout(x + 1, 0.5, True)


class Overwrites(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.add_(1)


class Divides(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.div(torch.full_like(x, 10), x, rounding_mode="floor")


class Refuses(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if float(x.max()) < 7:
            raise RuntimeError("something over 7, please")
        return x


def test_an_honest_model_is_published_without_a_word(
    repository: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With batches."""
    assert pushed(capsys, "--file", script(Honest()), *X, *Y, "--max-batch", 8) == []
    assert manifest(repository).batching.max_size == 8


@pytest.mark.parametrize("batch", [1, 8])
def test_dropout_that_was_left_on_is_told(batch: int, capsys: pytest.CaptureFixture[str]) -> None:
    """It is published, and served unbatched."""
    notes = pushed(capsys, "--file", script(Dice()), *X, *Y, "--max-batch", batch)
    assert "not deterministic" in notes[0] and ".eval()" in notes[0]
    assert len(notes) == (1 if batch == 1 else 2)


def test_a_model_that_writes_to_its_input_is_tried_with_its_own_copy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is as good as any other."""
    assert pushed(capsys, "--file", script(Overwrites()), *X, *Y, "--max-batch", 8) == []


def test_a_shape_that_changes_from_call_to_call_is_seen(
    repository: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused where the manifest says what it is, told where it says that it varies."""
    assert "shape" in refused(capsys, repository, "--file", script(Odd()), *X, *Y)
    notes = pushed(capsys, "--file", script(Odd()), *X, "--output", "y:FP32:-1,-1")
    assert "not deterministic" in notes[0]


@pytest.mark.parametrize(
    ("module", "specs"),
    [
        (Kernel, ["--input", "x:FP32:-1,3,-1,-1", "--output", "y:FP32:-1,4,-1,-1"]),
        (Divides, ["--input", "x:INT64:-1", "--output", "y:INT64:-1"]),
    ],
)
def test_inputs_that_are_made_up_are_such_as_the_model_takes(
    module: type[torch.nn.Module], specs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Sizes and values are tried until it runs."""
    assert pushed(capsys, "--file", script(module()), *specs) == []


def test_a_model_that_takes_nothing_of_ours_is_published(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its own reason is told, and the way to do better."""
    (note,) = pushed(capsys, "--file", script(Refuses()), *X, *Y)
    assert "the model failed" in note
    assert "--example" in note


def test_an_example_is_tried_and_becomes_the_warm_up(
    repository: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And its rows are those of the batching check."""
    rows = np.arange(30, 39, dtype="<f4").reshape(3, 3)
    np.savez("in.npz", x=rows)
    options = ["--file", script(Refuses()), *X, *Y, "--max-batch", 8, "--example", "in.npz"]
    pushed(capsys, *options)
    made = manifest(repository)
    assert given(made.inputs[0], made.warmup[0]["x"]).tolist() == rows.tolist()


def test_an_example_that_the_model_does_not_take_is_refused(
    repository: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real inputs decide."""
    np.savez("in.npz", x=np.zeros((1, 3), "<f4"))
    options = ["--file", script(Refuses()), *X, *Y, "--example", "in.npz"]
    assert "warm-up failed" in refused(capsys, repository, *options)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "input 'x' is missing"),
        ({"z": np.zeros((1, 3), "<f4")}, "'z' is not an input"),
        ({"x": np.zeros((1, 3))}, "float64 [1, 3], the model takes FP32 [-1, 3]"),
        ({"x": np.zeros((1, 4), "<f4")}, "float32 [1, 4]"),
        ({"x": np.zeros(3, "<f4")}, "float32 [3]"),
        ({"x": np.array([[1, "a", None]], object)}, "want an .npz file"),
    ],
)
def test_an_example_that_does_not_fit_is_refused_by_name(
    arrays: dict[str, np.ndarray], said: str, repository: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its datatype and shape beside those of the model."""
    np.savez("in.npz", **arrays)
    options = ["--file", script(Honest()), *X, *Y, "--example", "in.npz"]
    assert said in refused(capsys, repository, *options)


def test_an_example_too_large_for_a_manifest_leaves_its_shape(
    repository: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a model that is batched the first rows that fit."""
    np.savez("in.npz", x=np.ones((100_000, 3), "<f4"))
    options = ["--file", script(Honest()), *X, *Y, "--example", "in.npz"]
    (note,) = pushed(capsys, *options)
    assert "shapes only" in note
    assert manifest(repository).warmup[0]["x"].shape == [100_000, 3]
    assert pushed(capsys, *options, "--max-batch", 8) == []


def test_an_archive_of_other_things_than_arrays_is_no_example(
    repository: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """numpy gives the bytes of what it does not know."""
    for content in (b"", b"nothing of numpy's"):
        with zipfile.ZipFile("in.npz", "w") as archive:
            archive.writestr("x.npy", content)
        options = ["--file", script(Honest()), *X, *Y, "--example", "in.npz"]
        assert "want an .npz file" in refused(capsys, repository, *options)
