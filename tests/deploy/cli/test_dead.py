"""`warmroute dead list|show|replay|drop`, against a stub gateway that keeps three letters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from deploy.cli.main import main
from warmroute import Client

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub

NEW_ID = "0123456789abcdef0123456789abcdef"
FULL = "3-0"


def letter(entry: str, kind: str = "request") -> dict[str, Any]:
    return {
        "entry": entry, "kind": kind, "id": "f" * 32, "model": "bert", "version": "1",
        "code": "dead_lettered", "error": "its worker died 3 times", "worker": "w1", "attempts": 3,
        "fingerprint": "abc", "died": "2026-01-02T03:04:05Z", "payload_bytes": 12,
    }  # fmt: skip


@pytest.fixture
def letters(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What the gateway keeps, two to a page; a replay of 3-0 finds every queue full."""
    kept = {"3-0": letter("3-0"), "2-0": letter("2-0", "entry"), "1-0": letter("1-0")}

    async def index(request: web.Request) -> web.Response:
        after = request.query.get("after")
        names = [name for name in kept if after is None or name < after][:2]
        following = names[-1] if len(names) == 2 else None
        return web.json_response({"letters": [kept[n] for n in names], "next": following})

    async def show(request: web.Request) -> web.Response:
        found = kept.get(request.path.rsplit("/", 1)[-1])
        return web.json_response(found | {"request": {"inputs": []}} if found else {}, status=200)

    async def drop(request: web.Request) -> web.Response:
        return web.Response(status=204 if kept.pop(request.path.rsplit("/", 1)[-1], 0) else 404)

    async def replay(request: web.Request) -> web.Response:
        entry = request.path.split("/")[-2]
        if entry == FULL:
            return web.json_response({"error": "its payload is gone"}, status=409)
        if kept.pop(entry)["kind"] == "entry":
            return web.json_response({"status": "queued"}, status=202)
        headers = {"Location": f"/v2/requests/{NEW_ID}"}
        return web.json_response({"id": NEW_ID}, status=202, headers=headers)

    stub.answer("GET", "/v2/dead", index)
    for entry in list(kept):
        stub.answer("GET", f"/v2/dead/{entry}", show)
        stub.answer("DELETE", f"/v2/dead/{entry}", drop)
        stub.answer("POST", f"/v2/dead/{entry}/replay", replay)
    monkeypatch.setenv("WARMROUTE_URL", stub.url)
    monkeypatch.setattr("warmroute.operations.ROWS", 2)
    return kept


@pytest.mark.usefixtures("letters")
def test_the_list_is_a_table_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    """Entry, when, model, worker, attempts and why; over as many pages as it takes."""
    assert main(["dead", "list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.strip().splitlines()]
    assert rows[0] == ["entry", "died", "model", "worker", "attempts", "code", "error"]
    assert [row[0] for row in rows[2:]] == ["3-0", "2-0", "1-0"]
    assert rows[2][2:6] == ["bert", "w1", "3", "dead_lettered"]


@pytest.mark.usefixtures("letters")
def test_the_list_can_be_cut_short(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    """--limit; no page is asked for that is not needed."""
    assert main(["dead", "list", "--limit", "2", "--json"]) == 0
    assert [row["entry"] for row in json.loads(capsys.readouterr().out)] == ["3-0", "2-0"]
    assert [path for method, path, _, _ in stub.seen] == ["/v2/dead?limit=2"]


@pytest.mark.usefixtures("letters")
def test_a_letter_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON, with what was asked."""
    assert main(["dead", "show", "1-0"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["entry"], shown["request"]) == ("1-0", {"inputs": []})


def test_letters_are_replayed_and_the_new_requests_named(
    letters: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """One that came by a stream goes back there, and has no request id yet."""
    assert main(["dead", "replay", "1-0", "2-0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"entry": "1-0", "done": "replayed", "request": NEW_ID},
        {"entry": "2-0", "done": "returned to the ingress stream"},
    ]
    assert list(letters) == ["3-0"]


def test_one_that_cannot_be_replayed_does_not_stop_the_others(
    letters: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """--all; the status is 1, and the reason stands beside the letter, which stays."""
    assert main(["dead", "replay", "--all"]) == 1
    assert "its payload is gone" in capsys.readouterr().out
    assert list(letters) == ["3-0"]


def test_letters_are_dropped(
    letters: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """By name, or all; a name that is unknown is said so."""
    assert main(["dead", "drop", "2-0"]) == 0
    assert list(letters) == ["3-0", "1-0"]
    assert main(["dead", "drop", "9-0"]) == 1
    assert "Not Found" in capsys.readouterr().out
    assert main(["dead", "drop", "--all"]) == 0
    assert letters == {}


@pytest.mark.parametrize(
    "arguments",
    [["list", "1-0"], ["show"], ["show", "1-0", "2-0"], ["replay"],
     ["drop"], ["drop", "1-0", "--all"], ["show", "--all"]],
)  # fmt: skip
def test_a_command_line_that_does_not_add_up_is_refused(
    arguments: list[str], stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2 and one sentence, before anything is asked."""
    assert main(["dead", *arguments, "--url", stub.url]) == 2
    assert capsys.readouterr().err.startswith("warmroute: ")
    assert stub.seen == []


@pytest.mark.usefixtures("letters")
def test_the_client_hands_out_a_request_to_wait_for(client: Client) -> None:
    """Or None, where the stream door has it again."""
    pending = client.replay_dead_letter("1-0")
    assert pending is not None and pending.id == NEW_ID
    assert client.replay_dead_letter("2-0") is None
