"""`warmroute load|unload|policy|session` against a real gateway, whose worker the tests play."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from deploy.cli import sessions
from deploy.cli.main import main
from tests.helpers.cell import Cell
from tests.helpers.fleet import Fleet, fleet_of, publish_made_up
from tests.helpers.wait import wait_until


@pytest.fixture
async def fleet(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Fleet]:
    """A gateway with `bert` in two versions and `tts`, and a worker; WARMROUTE_URL names it."""
    for name, version in (("bert", 1), ("bert", 2), ("tts", 1)):
        publish_made_up(tmp_path, name, version=version)
    async with fleet_of(cell, tmp_path) as made:
        monkeypatch.setenv("WARMROUTE_URL", made.gateway.url)
        made.epoch = await made.worker()
        yield made


async def ref(fleet: Fleet, name: str = "bert", version: int = 2) -> str:
    return str((await fleet.gateway.context.catalog.resolve(name, version)).ref)


class Command:
    """Runs subcommands beside the gateway's event loop."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Status, output and errors."""
        status = await asyncio.to_thread(main, arguments)
        captured = self._capsys.readouterr()
        return status, captured.out, captured.err

    async def json(self, *arguments: str) -> Any:
        """What it says to programs."""
        status, out, errors = await self.run(*arguments, "--json")
        assert status == 0, errors
        return json.loads(out)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line."""
    return Command(capsys)


async def test_a_model_is_loaded_and_unloaded(fleet: Fleet, command: Command) -> None:
    """Each waits until it is so, and says where."""
    bert = await ref(fleet)
    running = asyncio.create_task(command.run("load", "bert"))
    await wait_until(lambda: fleet.cell.token(bert))
    await fleet.hold("w1", fleet.epoch, bert)
    status, out, _ = await running
    assert (status, out.split()[-4:]) == (0, ["bert", "2", "READY", "w1"])
    running = asyncio.create_task(command.run("unload", "bert:2"))
    await wait_until(lambda: fleet.told("w1"))
    await fleet.free("w1", fleet.epoch, bert)
    status, out, _ = await running
    assert (status, out.split()[-4:]) == (0, ["bert", "2", "UNAVAILABLE", "w1"])


async def test_a_load_can_be_ordered_without_waiting(fleet: Fleet, command: Command) -> None:
    """Of a version too."""
    said = await command.json("load", "bert:1", "--no-wait")
    assert (said["version"], said["state"]) == ("1", "LOADING")
    assert await fleet.cell.token(await ref(fleet, version=1))


async def test_what_does_not_come_in_time_is_said(fleet: Fleet, command: Command) -> None:
    """Status 1, with the server's own words."""
    status, _, errors = await command.run("load", "bert", "--timeout", "0.05")
    assert status == 1
    assert errors == "warmroute: model bert version 2: still loading; it goes on (HTTP 504)\n"


async def test_a_policy_is_shown_and_changed(fleet: Fleet, command: Command) -> None:
    """Field by field; without a value the manifest's is in force again."""
    said = await command.json("policy", "bert", "--set", "pin=true", "--set", "idle_ttl_s=2.5")
    assert said["overrides"] == {"pin": True, "idle_ttl_s": 2.5}
    _, out, _ = await command.run("policy", "bert:2", "--set", "idle_ttl_s=")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[2:] if line.strip()}
    assert (rows["pin"], rows["idle_ttl_s"]) == (
        ["true", "false", "API"],
        ["0.0", "0.0", "manifest"],
    )
    assert (await command.json("policy", "bert:1"))["overrides"] == {}


async def test_a_session_is_opened_listed_shown_kept_and_closed(
    fleet: Fleet, command: Command
) -> None:
    """By its id, which may be one's own."""
    opened = await command.json("session", "open", "bert:1", "tts", "--id", "mine", "--ttl", "500")
    assert [(m["name"], m["version"], m["state"]) for m in opened["models"]] == [
        ("bert", "1", "loading"), ("tts", "1", "loading")
    ]  # fmt: skip
    await fleet.hold("w1", fleet.epoch, await ref(fleet, "tts", 1))
    _, out, _ = await command.run("session", "list")
    assert out.split()[-4:] == ["mine", opened["expires_at"], "bert:1", "tts:1"]
    _, out, _ = await command.run("session", "show", "mine")
    assert out.split()[-4:] == ["tts", "1", "ready", "w1"]
    kept = await command.json("session", "keep", "mine", "--ttl", "5000")
    assert kept[0]["expires_at"] > opened["expires_at"]
    assert (await command.run("session", "close", "mine"))[0] == 0
    assert (await command.run("session", "close", "mine"))[0] == 1
    assert await command.json("session", "list") == []


async def test_a_session_can_be_held_until_it_is_told_to_end(
    fleet: Fleet, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C closes it."""
    seen = []

    def hold(session: Any) -> None:
        seen.append(session.id)
        raise KeyboardInterrupt

    monkeypatch.setattr(sessions, "_hold", hold)
    assert (await command.run("session", "open", "tts", "--id", "mine", "--hold"))[0] == 130
    assert seen == ["mine"]
    assert await command.json("session", "list") == []


@pytest.mark.parametrize(
    "arguments",
    ["load bert:0", "load :1", "unload bert:x", "policy bert --set pin", "policy bert --set x=1",
     "policy bert --set pin=yes", "session open", "session list x", "session show",
     "session show a b", "session close", "session keep x --wait", "session close x --ttl 5",
     "session list --hold", "session open a:b"],
)  # fmt: skip
def test_a_command_line_that_does_not_add_up_is_refused(
    arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2 and one sentence, before anything is asked."""
    monkeypatch.setenv("WARMROUTE_URL", "http://127.0.0.1:1")
    assert main(arguments.split()) == 2
    assert capsys.readouterr().err.startswith("warmroute: ")
