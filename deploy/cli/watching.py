"""`--watch [SECONDS]`: the same again and again, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from deploy.cli.errors import WrongUse
from deploy.cli.options import seconds
from deploy.cli.output import say
from warmroute import ClientError, InvalidInput, Rejected

EVERY_S = 2.0
LEAST_S = 0.1
CLEAR = "\x1b[H\x1b[2J"


def add_watch(parser: argparse.ArgumentParser) -> None:
    """Declare the option."""
    parser.add_argument(
        "--watch", nargs="?", const=EVERY_S, type=_period, metavar="SECONDS",
        help=f"look again every so many seconds ({EVERY_S:g}), until Ctrl-C",
    )  # fmt: skip


def check_watch(options: argparse.Namespace, *looking: str) -> None:
    """Only an action that looks, and changes nothing, may be done again and again."""
    if options.watch is not None and options.action not in looking:
        raise WrongUse(f"{options.action}: --watch belongs to {' and '.join(looking)}")


def watch(options: argparse.Namespace, run: Callable[[argparse.Namespace], int]) -> int:
    """Run it for ever. A gateway that is away is told, and asked again; a wrong command ends it."""
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
