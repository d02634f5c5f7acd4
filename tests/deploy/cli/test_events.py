"""`warmroute events`, against a stub gateway."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from deploy.cli.main import main

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub

EVENTS: list[dict[str, Any]] = [
    {"id": "1-0", "time": "2026-01-02T03:04:05.678Z", "kind": "loaded", "worker": "w1",
     "model": "bert", "version": "2", "tier_from": "disk", "tier_to": "device",
     "bytes": 20 << 20, "seconds": 0.25},
    {"id": "2-0", "time": "2026-01-02T03:04:06.000Z", "kind": "evicted", "worker": "w1",
     "model": "mnist", "version": "1", "bytes": 5 << 20, "bytes_regained": 4 << 20,
     "reason": "room for bert"},
    {"id": "3-0", "time": "2026-01-02T03:04:07.000Z", "kind": "session_opened"},
]  # fmt: skip


@pytest.fixture
def log(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """A gateway with three events; following, it sends them in two pieces and then hangs up."""

    async def events(request: web.Request) -> web.StreamResponse:
        if "event-stream" not in request.headers.get("Accept", ""):
            after = request.query.get("since")
            found = EVENTS if after != "3-0" else []
            return web.json_response({"events": found, "last": "3-0", "gap": after == "0"})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"retry: 1000\nid: 0-0\n\n")
        for event in EVENTS:
            await response.write(f"id: {event['id']}\n".encode())
            await asyncio.sleep(0)
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
        raise asyncio.CancelledError

    stub.answer("GET", "/v2/events", events)
    monkeypatch.setenv("WARMROUTE_URL", stub.url)
    return stub


@pytest.mark.usefixtures("log")
def test_events_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """When, what, which model, where, between which tiers, how large, how long, why."""
    assert main(["events"]) == 0
    head, _, loaded, evicted, session = capsys.readouterr().out.strip().splitlines()
    assert head.split() == [
        "time", "kind", "model", "worker", "tiers", "bytes", "took", "reason"
    ]  # fmt: skip
    assert loaded.split()[1:] == [
        "loaded", "bert", "2", "w1", "disk", ">", "device", "20.0", "MiB", "0.25", "s"
    ]  # fmt: skip
    assert "5.0 MiB (regained 4.0 MiB)" in evicted and evicted.rstrip().endswith("room for bert")
    assert session.split() == ["2026-01-02T03:04:07.000Z", "session_opened"]


def test_what_is_wanted_is_asked_of_the_gateway(
    log: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    """Model, worker, kinds, since and limit; the events come as a list."""
    command = "events --model bert:2 --worker w1 --kind loaded --kind evicted --since 5m --limit 3"
    assert main([*command.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == EVENTS
    assert log.seen[0][1] == (
        "/v2/events?model=bert%3A2&worker=w1&kind=loaded&kind=evicted&since=5m&limit=3"
    )


def test_since_brings_all_pages_and_says_where_some_are_missing(
    log: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    """Page after page, until one is empty."""
    assert main(["events", "--since", "0"]) == 0
    rows = capsys.readouterr().out.strip().splitlines()[2:]
    assert rows[0].split() == ["gap"] and len(rows) == 4
    assert [path for _, path, _, _ in log.seen] == [
        "/v2/events?since=0&limit=500", "/v2/events?since=3-0&limit=500"
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["text", "json"])
def test_following_prints_a_line_per_event_until_interrupted(
    log: Stub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Also when the gateway hangs up in between: from the last event on it is asked again."""

    def interrupted(seconds: float) -> None:
        if len(log.seen) > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("warmroute.events.time.sleep", interrupted)
    options = ["--json"] if form == "json" else []
    assert main(["events", "--follow", *options]) == 130
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    if form == "json":
        assert [json.loads(line) for line in lines] == EVENTS * 2
    else:
        assert lines[0].split()[:4] == [EVENTS[0]["time"], "loaded", "bert", "2"]
    first, second = (headers for _, _, headers, _ in log.seen)
    assert "Last-Event-ID" not in first and second["Last-Event-ID"] == "3-0"


@pytest.mark.parametrize(
    "arguments", [["--limit", "0"], ["--follow", "--limit", "5"], ["--kind", "exploded"]]
)
def test_a_command_line_that_does_not_add_up_is_refused(
    arguments: list[str], log: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, before anything is asked."""
    try:
        assert main(["events", *arguments]) == 2
    except SystemExit as ended:  # argparse's own way
        assert ended.code == 2
    assert capsys.readouterr().err and log.seen == []


def test_a_gateway_that_refuses_to_be_followed_is_quoted(
    log: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asking again would not help."""

    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"error": "since: want a time"}, status=400)

    log.answer("GET", "/v2/events", refuse)
    assert main(["events", "--follow", "--since", "now"]) == 1
    assert "since: want a time (HTTP 400)" in capsys.readouterr().err


def test_following_says_at_once_that_no_gateway_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, and goes on for a while before it gives up."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr("warmroute.events.time", clock)
    assert main(["events", "--follow", "--url", "http://127.0.0.1:9"]) == 1
    asking, gave_up = capsys.readouterr().err.splitlines()
    assert asking.endswith("; retrying") and gave_up == asking.removesuffix("; retrying")
