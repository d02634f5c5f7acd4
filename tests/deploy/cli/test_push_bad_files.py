"""Whatever a file holds, `push` ends with one sentence, and publishes nothing or a whole model."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save as safetensors_bytes

from deploy.cli.main import main
from shared.repository import open_repository
from tests.helpers.onnx_models import adding, pointing_to, save, scaled
from tests.helpers.paths import PYTHONPATH

MUTANTS = 60  # of each kind of file


def script() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def exported() -> bytes:
    buffer = io.BytesIO()
    net = torch.nn.Linear(2, 2)
    torch.export.save(torch.export.export(net, (torch.ones(2, 2),)), buffer)
    return buffer.getvalue()


def example() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.ones((2, 2), np.float32))
    return buffer.getvalue()


SPECS = ("--input", "x:FP32:-1,2", "--output", "y:FP32:-1,2")
NET = ("--module", "nets:make", "--input", "x:FP32:2,2")
KINDS: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    "m.onnx": (lambda: scaled().SerializeToString(), ("--file", "m.onnx")),
    "m.pt2": (exported, ("--file", "m.pt2")),
    "whole.pt2": (exported, ("--file", "whole.pt2", "--format", "whole")),
    "m.pt": (script, ("--file", "m.pt", *SPECS)),
    "w.safetensors": (
        lambda: safetensors_bytes(torch.nn.Linear(2, 2).state_dict()),
        (*NET, "--weights", "w.safetensors"),
    ),
    "e.npz": (example, (*NET, "--example", "e.npz")),
}


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MODEL_REPOSITORY names an empty folder; the current one holds `nets.py`."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (tmp_path / "nets.py").write_text("import torch\ndef make(): return torch.nn.Linear(2, 2)\n")
    monkeypatch.setenv("MODEL_REPOSITORY", folder.as_uri())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    return folder


def mutants(raw: bytes, rng: random.Random) -> Iterator[bytes]:
    """Cut off, changed in some bytes, filled, doubled, or noise: what broken copies look like."""
    for _ in range(MUTANTS):
        at = rng.randrange(len(raw))
        changed = bytearray(raw)
        for _ in range(rng.choice([1, 1, 8, 64])):
            changed[rng.randrange(len(raw))] = rng.randrange(256)
        yield rng.choice(
            [raw[:at], bytes(changed), raw[:at] + bytes(len(raw) - at), raw + raw[:at],
             raw[at:], rng.randbytes(rng.randrange(200))]
        )  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.timeout(300)
def test_no_file_makes_a_traceback_or_half_a_model(
    name: str, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any exception but the project's own would leave `main`, and fail here."""
    make, options = KINDS[name]
    rng = random.Random(f"push {name}")
    for raw in mutants(make(), rng):
        (tmp_path / name).write_bytes(raw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            status = main(["push", "m", *options])
        told = capsys.readouterr()
        there = open_repository(repository.as_uri())
        if status == 0:
            there.read_manifest("m", max(there.list_versions("m")))
        else:
            assert told.err.startswith("warmroute: ")
            assert "Traceback" not in told.err


def test_the_weights_of_an_onnx_model_are_published_whole_or_not_at_all(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is missing is told by name; with it, both are in the version."""
    save(adding(pointing_to("m.onnx.data")), tmp_path / "m.onnx")
    assert main(["push", "m", "--file", "m.onnx"]) == 1
    assert "'m.onnx.data' is missing" in capsys.readouterr().err
    assert open_repository(repository.as_uri()).list_models() == []
    (tmp_path / "m.onnx.data").write_bytes(np.ones(4, np.float32).tobytes())
    assert main(["push", "m", "--file", "m.onnx"]) == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--file", "m.onnx", "--weights", "w.safetensors"], "--weights"),
        (["--file", "m.onnx", "--format", "whole"], "--format"),
        (["--file", "m.onnx", "--size", "layers=2"], "--size"),
        (["--module", "nets:make", "--input", "x:FP32:2,2", "--size", "a=1"], "--size"),
        (["--architecture", "bert_encoder", "--weights", "w.safetensors", "--format", "whole"],
         "--format"),
    ],
)  # fmt: skip
def test_an_option_of_another_format_is_refused(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would be dropped without a word."""
    for name in ("m.onnx", "w.safetensors"):
        (tmp_path / name).write_bytes(KINDS[name][0]())
    assert main(["push", "m", *arguments]) == 2
    assert f"{told} goes with" in capsys.readouterr().err


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from deploy.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def without(absent: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT.format(absent=absent), "push", "m", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )


def test_onnx_is_pushed_without_torch(tmp_path: Path) -> None:
    """Who only has ONNX models need not install it."""
    save(scaled(), tmp_path / "m.onnx")
    run = without(("torch", "safetensors"), "--file", "m.onnx")
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("absent", "name"),
    [("torch", "m.pt2"), ("torch", "m.pt"), ("onnx", "m.onnx"), ("onnxruntime", "m.onnx"),
     ("safetensors", "w.safetensors")],
)  # fmt: skip
def test_without_the_library_it_says_what_to_install(
    absent: str, name: str, tmp_path: Path
) -> None:
    """One sentence, and no traceback."""
    make, options = KINDS[name]
    (tmp_path / name).write_bytes(make())
    run = without((absent,), *options)
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        f"warmroute: this needs {absent}, which is not installed: pip install 'warmroute[worker]'"
    ]


@pytest.mark.parametrize(
    ("setting", "advised"),
    [
        ("", True), ("s3://elsewhere", True), ("{url}", False), ("s3://other, {url}/", False),
        ("{plain}", False),
    ],
)  # fmt: skip
def test_what_the_workers_must_be_told_is_said_unless_it_is_known(
    setting: str, advised: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """With the value, on stderr, so that what programs read stays the same."""
    folder = tmp_path / "my models"
    folder.mkdir()
    monkeypatch.setenv("MODEL_REPOSITORY", folder.as_uri())
    told = setting.format(url=folder.as_uri(), plain=f"file://{folder}")
    monkeypatch.setenv("WARMROUTE_TRUST_CODE", told)
    save(scaled(), tmp_path / "m.onnx")
    assert main(["push", "m", "--file", "m.onnx"]) == 0
    said = capsys.readouterr().err
    assert (f"WARMROUTE_TRUST_CODE={folder.as_uri()} where the workers" in said) is advised
    assert ("can run code" in said) is advised
