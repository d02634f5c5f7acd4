"""The command as a whole: exit statuses, and errors without tracebacks."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from deploy.cli.main import main

SUBCOMMANDS = ["up", "push", "models", "infer", "residency", "workers", "dead"]


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_every_subcommand_explains_itself_and_offers_json(
    subcommand: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """--help ends with status 0 and mentions --json."""
    with pytest.raises(SystemExit) as ended:
        main([subcommand, "--help"])
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["fly"], ["models", "--color"]])
def test_a_wrong_command_line_ends_with_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """And tells the usage."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: warmroute" in capsys.readouterr().err


def test_no_gateway_is_one_sentence_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    """The address is named, and no traceback is shown."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert main(["models", "--url", url]) == 1
    assert capsys.readouterr().err == f"warmroute: no gateway answers at {url}\n"


@pytest.mark.usefixtures("gateway")
def test_the_servers_refusal_is_passed_on_with_its_http_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An unknown model ends with status 1."""
    assert main(["infer", "nope", "--input", "x=[1]"]) == 1
    assert capsys.readouterr().err == "warmroute: Not Found (HTTP 404)\n"


@pytest.mark.usefixtures("gateway")
def test_a_reader_that_leaves_early_is_no_error() -> None:
    """`warmroute models | head -0` prints no traceback."""
    command = f"{sys.executable} -m deploy.cli models --json | head -c 1"
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert (run.stdout, run.stderr) == ("[", "")
