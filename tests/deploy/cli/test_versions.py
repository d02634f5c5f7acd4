"""`warmroute models NAME`, `models delete NAME`, and what `push` says of its version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from deploy.cli.main import main
from shared.repository import open_repository
from tests.helpers.factories import manifest

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub

VERSIONS = {
    "name": "double", "serves": "2", "not_shown": 3,
    "versions": [
        {"version": "3", "live": False, "state": "failed", "workers": [], "error": "no operator"},
        {"version": "2", "live": True, "state": "ready", "workers": ["w1"], "max_batch": 8},
    ],
}  # fmt: skip
SIGNATURE = {
    "name": "double", "platform": "onnxruntime_onnx", "versions": ["2", "3"],
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2], "optional": True}],
    "outputs": [{"name": "y", "datatype": "INT64", "shape": [-1]}],
}  # fmt: skip


@pytest.fixture
def model(gateway: Stub) -> Stub:
    """A gateway that knows two versions of `double`."""

    async def versions(request: web.Request) -> web.Response:
        return web.json_response(VERSIONS)

    async def metadata(request: web.Request) -> web.Response:
        return web.json_response(SIGNATURE)

    gateway.answer("GET", "/v2/models/double/versions", versions)
    gateway.answer("GET", "/v2/models/double", metadata)
    return gateway


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """MODEL_REPOSITORY names a folder with three versions of a model."""
    url = tmp_path.as_uri()
    for version in (1, 2, 3):
        made = manifest(name="bert", version=version)
        open_repository(url).put_manifest("bert", version, made.encode())
    monkeypatch.setenv("MODEL_REPOSITORY", url)
    return url


@pytest.mark.usefixtures("model")
def test_a_model_is_shown_with_versions_and_signature(capsys: pytest.CaptureFixture[str]) -> None:
    """Which is live, why another is not, what goes in and out."""
    assert main(["models", "double"]) == 0
    said = capsys.readouterr().out
    for text in (
        "no operator", "w1", "3 older versions", "get 2: onnxruntime_onnx, batches of at most 8",
        "x  FP32  [-1, 2]  optional", "y  INT64  [-1]",
    ):  # fmt: skip
        assert text in said
    assert main(["models", "double", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {**VERSIONS, "signature": SIGNATURE}


def test_one_version_is_deleted_or_all_of_them(
    repository: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is left is said."""
    assert main(["models", "delete", "bert", "--version", "3", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "bert", "deleted": [3], "left": [1, 2]}
    assert open_repository(repository).list_versions("bert") == [1, 2]
    assert main(["models", "delete", "bert", "--yes"]) == 0
    assert open_repository(repository).list_versions("bert") == []


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["delete", "bert"], 2, "--yes"),
        (["delete", "nobody", "--yes"], 1, "'nobody' is not in"),
        (["delete", "bert", "--version", "9", "--yes"], 1, "no version 9, but versions 1, 2, 3"),
        (["delete", "a/b", "--yes"], 1, "model name"),
        (["delete", "bert", "two", "--yes"], 2, "delete NAME"),
        (["delete", "bert", "--watch", "--yes"], 2, "change nothing"),
        (["bert", "--yes"], 2, "belong to"),
        (["bert", "--version", "1"], 2, "belong to"),
        (["bert", "--ready"], 2, "takes no NAME"),
    ],
)
def test_what_cannot_be_deleted_or_shown_is_told(
    repository: str, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int,
    said: str,
) -> None:  # fmt: skip
    """Nothing is deleted then; nobody is asked where nobody can answer."""
    assert main(["models", *arguments]) == status
    assert said in capsys.readouterr().err
    assert open_repository(repository).list_versions("bert") == [1, 2, 3]


def test_a_delete_without_a_repository_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which one?"""
    monkeypatch.delenv("MODEL_REPOSITORY", raising=False)
    assert main(["models", "delete", "bert", "--yes"]) == 2
    assert "MODEL_REPOSITORY" in capsys.readouterr().err


def pushing(*more: str) -> int:
    return main(["push", "net", "--module", "linear:make", "--input", "input:FP32:-1,4", *more])


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`linear.py` in the current folder, and an empty repository."""
    (tmp_path / "repository").mkdir()
    (tmp_path / "linear.py").write_text(
        "import torch\n\ndef make():\n    torch.manual_seed(1)\n    return torch.nn.Linear(4, 3)\n"
    )
    monkeypatch.setenv("MODEL_REPOSITORY", (tmp_path / "repository").as_uri())
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("net")
def test_a_push_says_what_becomes_of_it(gateway: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    """When requests get it; that nothing has changed; that it is live, or why not."""

    async def loads(request: web.Request) -> web.Response:
        return web.json_response({"name": "net", "version": "1", "workers": ["w1"]})

    async def fails(request: web.Request) -> web.Response:
        return web.json_response({"error": "no operator"}, status=422)

    load = "/v2/repository/models/net/versions/1/load"
    gateway.answer("POST", load, loads)
    assert pushing() == 0
    assert "once a worker has loaded it" in capsys.readouterr().err
    assert pushing() == 0
    assert "unchanged: version 1 exists already" in capsys.readouterr().err
    assert pushing("--wait", "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["unchanged"], done["workers"]) == (True, ["w1"])
    gateway.answer("POST", load, fails)
    assert pushing("--wait") == 1
    assert "net version 1 is published, but not loaded: no operator" in capsys.readouterr().err
    assert pushing("--wait", "--url", "http://127.0.0.1:9") == 1
    assert "no gateway answers" in capsys.readouterr().err
