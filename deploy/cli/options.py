"""Values of options, checked as they are read: argparse then names the option in its sentence."""

from __future__ import annotations

import argparse
import difflib
import re
from typing import Any, NoReturn

LONGEST_S = 1e9
MOST = 1 << 31
_CHOICE = re.compile(r"invalid choice: '(.*?)' \(choose from (.*)\)")
_OPTION = re.compile(r"unrecognized arguments: (--[\w-]+)")


class Parser(argparse.ArgumentParser):
    """Takes options before, between and behind arguments, and says what was probably meant."""

    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does it, which by itself forgets a `*` argument behind an option."""
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
        """Those of all commands: who does not know one is no more told than its name."""
        parsers: list[argparse.ArgumentParser] = [self]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
        return [name for one in parsers for name in one._option_string_actions]


def seconds(text: str) -> float:
    """A time to wait."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r:.40}, want seconds from 0 to {LONGEST_S:g}")
    return value


def count(text: str) -> int:
    """A whole number from 1 on: a version, or how many."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:12]) < MOST:
        raise argparse.ArgumentTypeError(f"{text!r:.40}, want a whole number from 1 on")
    return int(text)
