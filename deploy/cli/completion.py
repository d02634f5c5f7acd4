"""`warmroute completion SHELL`: a script that completes commands, options and their choices."""

from __future__ import annotations

import argparse
import re
from argparse import ArgumentParser, Namespace

from deploy.cli.output import Subparsers

_WORD = re.compile(r"\[(\w+)\]")  # of a metavar: what may stand there as it is
SHELLS = ("bash", "zsh", "fish")
USE = {
    "bash": "source <(warmroute completion bash)",
    "zsh": "source <(warmroute completion zsh), behind compinit",
    "fish": "warmroute completion fish | source",
}
BASH = """\
_warmroute() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} words
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    else
        case ${{COMP_WORDS[1]}} in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _warmroute warmroute
"""


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "completion",
        help="print a script that completes this command in a shell",
        epilog="; ".join(f"{shell}: {how}" for shell, how in USE.items()),
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print it, made of the parsers themselves: `options.parser` is the whole command's."""
    print(script(options.shell, words_of(options.parser)), end="")
    return 0


def words_of(parser: ArgumentParser) -> dict[str, list[str]]:
    """What may follow each command: its options, and the words of its arguments."""
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return {name: sorted(_words(sub)) for name, sub in action.choices.items()}


def _words(parser: ArgumentParser) -> set[str]:
    found: set[str] = set()
    for action in parser._actions:
        found.update(name for name in action.option_strings if name.startswith("--"))
        if action.choices is not None and not action.option_strings:
            found.update(map(str, action.choices))
        if isinstance(action.metavar, str) and not action.option_strings:
            found.update(_WORD.findall(action.metavar))
    return found


def script(shell: str, words: dict[str, list[str]]) -> str:
    """The script for one shell."""
    if shell == "fish":
        return _fish(words)
    cases = [f'            {name}) words="{" ".join(after)}" ;;' for name, after in words.items()]
    bash = BASH.format(commands=" ".join([*words, "--help", "--version"]), cases="\n".join(cases))
    return bash if shell == "bash" else f"autoload -U bashcompinit && bashcompinit\n{bash}"


def _fish(words: dict[str, list[str]]) -> str:
    first = f"complete -c warmroute -n __fish_use_subcommand -f -a '{' '.join(words)}'"
    lines = [first]
    for name, after in words.items():
        seen = f"-n '__fish_seen_subcommand_from {name}'"
        lines += [
            f"complete -c warmroute {seen} -l {word[2:]}"
            if word.startswith("--")
            else f"complete -c warmroute {seen} -a {word}"
            for word in after
        ]
    return "\n".join(lines) + "\n"
