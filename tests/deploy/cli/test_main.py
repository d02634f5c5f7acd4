"""The command as a whole: exit statuses, and errors without tracebacks."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from deploy.cli.completion import words_of
from deploy.cli.main import main, make_parser

SUBCOMMANDS = [command for command in words_of(make_parser()) if command != "completion"]


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_every_subcommand_explains_itself_and_offers_json(
    subcommand: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """--help ends with status 0 and mentions --json."""
    with pytest.raises(SystemExit) as ended:
        main([subcommand, "--help"])
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_without_a_command_it_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """All of the help."""
    assert main([]) == 0
    assert all(f" {command} " in capsys.readouterr().out for command in ["models"])


def test_it_has_a_version(capsys: pytest.CaptureFixture[str]) -> None:
    """That of the distribution."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("warmroute ")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["modls"], "models"),
        (["request"], "requests"),
        (["version"], "--version"),
        (["infer", "m", "--tiemout", "1"], "--timeout"),
    ],
)
def test_what_was_probably_meant_is_said(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of commands and of options."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert f"did you mean {meant}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "infer m --timeout 5 x=[1] y=2", "infer --timeout 5 m x=[1] y=2",
        "infer m x=[1] --timeout 5 y=2", "infer m x=[1] y=2 --timeout 5",
    ],
)  # fmt: skip
def test_options_may_stand_anywhere(line: str) -> None:
    """Before, between and behind what a command is about."""
    options = make_parser().parse_args(line.split())
    assert (options.model, options.timeout, options.inputs) == ("m", 5, ["x=[1]", "y=2"])


def test_what_may_be_left_out_is_not_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Inputs may come by an option."""
    with pytest.raises(SystemExit):
        main(["infer"])
    assert capsys.readouterr().err.endswith("the following arguments are required: model\n")


@pytest.mark.parametrize(
    "arguments",
    [["fly"], ["models", "--color"], ["load", "m", "--timeout", "nan"],
     ["infer", "m", "--timeout", "1e400"], ["infer", "m", "--timeout", "-1"],
     ["infer", "m", "--version", "0"], ["infer", "m", "--version", "9" * 5000],
     ["events", "--limit", "-3"], ["infer", "m", "--version", "000000000001" + "9" * 9],
     ["events", "--limit", "1_0"], ["infer", "m", "--timeout", "1_0"],
     ["load", "m", "--timeout", "\u0663"]],
)  # fmt: skip
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


@pytest.mark.parametrize("url", ["", "ftp://h", "http://", "http://h:99999", "::1", "a b"])
def test_an_address_that_is_none_is_one_sentence_and_status_2(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is asked."""
    assert main(["models", "--url", url]) == 2
    said = capsys.readouterr().err
    assert "want http://HOST:PORT" in said and said.count("\n") == 1


ERRORS = [RuntimeError("odd\nlines"), MemoryError(), RecursionError("deep"), KeyError("models"),
          PermissionError(13, "Permission denied", "/x"), ImportError("No module named 'torch'"),
          UnicodeDecodeError("utf-8", b"x", 0, 1, "bad")]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=[type(error).__name__ for error in ERRORS])
def test_what_nobody_foresaw_is_one_sentence_too(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And its trace is shown to who asks for it."""

    def fail(options: object) -> int:
        raise error

    monkeypatch.setattr("deploy.cli.residency.run_workers", fail)
    assert main(["workers"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("warmroute: ") and said.count("\n") == 1
    monkeypatch.setenv("WARMROUTE_DEBUG", "1")
    with pytest.raises(type(error)):
        main(["workers"])


def test_a_misspelt_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which would else be of no use, silently."""
    monkeypatch.setenv("WARMROUTE_ULR", "http://h")
    main([])
    assert "did you mean WARMROUTE_URL?" in capsys.readouterr().err


@pytest.mark.usefixtures("gateway")
def test_a_full_disk_is_a_sentence() -> None:
    """Not a complaint of Python's at its end."""
    run = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m deploy.cli models --json > /dev/full"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (1, "warmroute: No space left on device\n")


@pytest.mark.usefixtures("gateway")
def test_it_watches_until_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same table again and again; Ctrl-C ends it."""
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("deploy.cli.options.time.sleep", sleep)
    assert main(["workers", "--watch", "0.5"]) == 130
    assert slept == [0.5] * 3 and capsys.readouterr().out.count("draining") == 3


@pytest.mark.parametrize(
    "arguments",
    [["session", "open", "m"], ["dead", "drop", "1-0"], ["requests", "cancel", "a" * 32]],
)
def test_what_changes_something_is_not_done_again_and_again(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """--watch is for looking."""
    assert main([*arguments, "--watch", "1"]) == 2
    assert "--watch belongs to list" in capsys.readouterr().err
