"""What commands share: values of options, names of models, and `--watch`.

Values are checked as they are read, so argparse names the option in its message.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from deploy.cli.errors import WrongUse
from deploy.cli.output import say
from shared.digits import is_plain
from shared.names import VERSION
from warmroute import ClientError, InvalidInput, Rejected

LONGEST_S = 1e9
MOST = 1 << 31
FORM = "MODEL[:VERSION]"
EVERY_S = 2.0
LEAST_S = 0.1
CLEAR = "\x1b[H\x1b[2J"
COUNT = re.compile(r"[0-9]{1,10}")
_CHOICE = re.compile(r"invalid choice: '(.*?)' \(choose from (.*)\)")
_OPTION = re.compile(r"unrecognized arguments: (--[\w-]+)")


class Parser(argparse.ArgumentParser):
    """Takes options in any position, and suggests the command or option that was probably meant."""

    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in argparse, which alone loses a `*` argument behind an option."""
        if self._mixing or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False

    def error(self, message: str) -> NoReturn:
        """One sentence and the usage; status 2."""
        super().error(message + self._meant(message))

    def _meant(self, message: str) -> str:
        choice, option = _CHOICE.search(message), _OPTION.search(message)
        wrong, known = "", list[str]()
        if choice:
            wrong = choice[1]
            known = [*re.findall(r"[\w-]+", choice[2]), *self._option_string_actions]
        elif option:
            wrong, known = option[1], self._options()
        near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
        return f"; did you mean {near[0]}?" if near else ""

    def _options(self) -> list[str]:
        """The options of all commands."""
        parsers: list[argparse.ArgumentParser] = [self]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
        return [name for one in parsers for name in one._option_string_actions]


def seconds(text: str) -> float:
    """A time to wait, in seconds."""
    try:
        value = float(text) if is_plain(text) else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r:.40}, want seconds from 0 to {LONGEST_S:g}")
    return value


def count(text: str) -> int:
    """A whole number from 1 on: a version, or a count."""
    if not COUNT.fullmatch(text) or not 1 <= int(text) < MOST:
        raise argparse.ArgumentTypeError(f"{text!r:.40}, want a whole number from 1 on")
    return int(text)


def read_model(text: str) -> tuple[str, int | None]:
    """`NAME[:VERSION]` as name and version, None without a version; WrongUse if it is neither."""
    name, colon, version = text.partition(":")
    if not name or (colon and not VERSION.fullmatch(version)):
        raise WrongUse(f"{text!r}: want {FORM}")
    return name, int(version) if colon else None


def add_watch(parser: argparse.ArgumentParser) -> None:
    """Declare the option."""
    parser.add_argument(
        "--watch", nargs="?", const=EVERY_S, type=_period, metavar="SECONDS",
        help=f"repeat every SECONDS seconds ({EVERY_S:g}), until Ctrl-C",
    )  # fmt: skip


def check_watch(options: argparse.Namespace, *looking: str) -> None:
    """WrongUse if --watch was given for an action that changes something."""
    if options.watch is not None and options.action not in looking:
        raise WrongUse(f"{options.action}: --watch belongs to {' and '.join(looking)}")


def watch(options: argparse.Namespace, run: Callable[[argparse.Namespace], int]) -> int:
    """Repeat until Ctrl-C. An unreachable gateway is reported and retried; WrongUse ends it."""
    while True:
        if sys.stdout is not None and sys.stdout.isatty():
            print(CLEAR, end="")
        if not options.json:
            print(f"{time.strftime('%H:%M:%S')}  every {options.watch:g} s, Ctrl-C ends")
        try:
            run(options)
        except (InvalidInput, Rejected):
            raise
        except ClientError as error:
            say(f"warmroute: {error}", error=True)
        if sys.stdout is not None:
            sys.stdout.flush()
        time.sleep(options.watch)


def _period(text: str) -> float:
    return max(seconds(text), LEAST_S)
