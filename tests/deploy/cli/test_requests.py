"""`warmroute submit` and `warmroute requests`: the other half of `infer`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from aiohttp import web

from deploy.cli.main import main

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub

ENDED, FAILED, OPEN, UNKNOWN = "a" * 32, "b" * 32, "c" * 32, "d" * 32
STATUS = {ENDED: "succeeded", FAILED: "failed", OPEN: "running"}


@pytest.fixture(autouse=True)
def kept(gateway: Stub) -> None:
    """Three requests: one that succeeded, one that failed, one that runs."""

    async def accept(request: web.Request) -> web.Response:
        assert request.headers["Prefer"] == "respond-async"
        return web.json_response(
            {"id": OPEN}, status=202, headers={"Location": f"/v2/requests/{OPEN}"}
        )

    async def look(request: web.Request) -> web.Response:
        request_id = request.path.rsplit("/", 1)[-1]
        if STATUS[request_id] == "succeeded" and "octet" in request.headers.get("Accept", ""):
            return gateway.outputs({"output": np.float32([2.5])}, worker="w1")
        found: dict[str, Any] = {"id": request_id, "status": STATUS[request_id]}
        found |= {"model": "double", "version": "1"}
        if STATUS[request_id] == "failed":
            found["error"] = "it raised"
        return web.json_response(found)

    async def cancel(request: web.Request) -> web.Response:
        ended = request.path.endswith(ENDED)
        return (
            web.json_response({"error": "ended"}, status=409) if ended else web.Response(status=204)
        )

    async def listing(request: web.Request) -> web.Response:
        row = {"id": OPEN, "status": "running", "model": "double", "version": "1"}
        return web.json_response(
            {"requests": [row | {"deadline": "2026-01-02T03:04:05Z"}], "next": None}
        )

    gateway.answer("POST", "/v2/models/double/infer", accept)
    gateway.answer("GET", "/v2/requests", listing)
    for request_id in STATUS:
        gateway.answer("GET", f"/v2/requests/{request_id}", look)
        gateway.answer("DELETE", f"/v2/requests/{request_id}", cancel)


def test_submit_prints_the_id_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """For a script to keep."""
    assert main(["submit", "double", "input=[[1, 2]]"]) == 0
    assert capsys.readouterr().out == f"{OPEN}\n"


def test_get_prints_and_saves_what_came_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `infer` does."""
    saved = tmp_path / "out.npz"
    assert main(["requests", "get", ENDED, "--json", "--save", str(saved)]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"] == {"output": [2.5]}
    with np.load(saved) as outputs:
        assert outputs["output"].tolist() == [2.5]


def test_get_says_how_far_one_is_and_how_another_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that runs is no error, unless its outputs are to be saved; one that failed is."""
    assert main(["requests", "get", OPEN, "--wait", "0.1"]) == 0
    assert "running" in capsys.readouterr().out
    assert main(["requests", "get", OPEN, "--save", str(tmp_path / "o.npz")]) == 1
    assert "running" in capsys.readouterr().err
    assert main(["requests", "get", FAILED]) == 1
    assert capsys.readouterr().err == f"warmroute: request {FAILED} failed: it raised\n"


def test_wait_tells_of_each_and_fails_if_one_did_not_succeed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The ids are whole."""
    assert main(["requests", "wait", ENDED]) == 0
    assert ENDED in capsys.readouterr().out
    assert main(["requests", "wait", ENDED, FAILED, OPEN, "--wait", "0.2", "--json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert [(one["id"], one["status"]) for one in shown] == list(STATUS.items())
    assert [one.get("error") for one in shown] == [None, "it raised", "it has not ended"]


def test_cancel_takes_back_what_has_not_ended(capsys: pytest.CaptureFixture[str]) -> None:
    """The others are told, and one that is unknown does not stop the rest."""
    assert main(["requests", "cancel", OPEN]) == 0
    capsys.readouterr()
    assert main(["requests", "cancel", ENDED, UNKNOWN, OPEN, "--json"]) == 1
    shown = {one["id"]: one for one in json.loads(capsys.readouterr().out)}
    assert "already ended" in shown[ENDED]["error"] and "error" in shown[UNKNOWN]
    assert shown[OPEN] == {"id": OPEN, "status": "cancelled"}


def test_list_shows_what_has_not_ended(capsys: pytest.CaptureFixture[str]) -> None:
    """A page at a time."""
    assert main(["requests", "list", "--limit", "1"]) == 0
    assert OPEN in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["get"], ["get", ENDED, OPEN], ["list", OPEN], ["wait"], ["cancel", OPEN, "--wait", "1"],
     ["wait", OPEN, "--save", "x"], ["get", OPEN, "--wait", "nan"], ["list", "--limit", "0"]],
)  # fmt: skip
def test_a_wrong_command_is_status_2(arguments: list[str]) -> None:
    """Said by us, or by argparse."""
    try:
        assert main(["requests", *arguments]) == 2
    except SystemExit as ended:
        assert ended.code == 2
