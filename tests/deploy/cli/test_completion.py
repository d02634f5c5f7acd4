"""Completion scripts, tried in the shell that is there."""

from __future__ import annotations

import subprocess

import pytest

from deploy.cli.completion import SHELLS, script, words_of
from deploy.cli.main import main, make_parser


def completed(line: str, word: str) -> set[str]:
    """What bash offers for the last word."""
    words = [*line.split(), word]
    code = script("bash", words_of(make_parser()))
    code += f"COMP_WORDS=({' '.join(words)} ''); COMP_CWORD={len(words) - 1}; _warmroute\n"
    code += 'printf "%s\\n" "${COMPREPLY[@]}"'
    run = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_bash_completes_commands_options_and_choices() -> None:
    """From the parsers, so that none is forgotten."""
    assert {"models", "infer", "requests"} <= completed("warmroute", "''")
    assert completed("warmroute", "res") == {"residency"}
    assert {"--timeout", "--save", "--json"} <= completed("warmroute infer m", "--")
    assert {"get", "wait", "cancel", "list"} <= completed("warmroute requests", "''")
    assert completed("warmroute models", "del") == {"delete"}


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script_with_every_command(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And bash reads its own without complaint."""
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in words_of(make_parser()))
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
