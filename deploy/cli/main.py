"""Parses the command line, runs one subcommand, and says what went wrong in one sentence.

Exit status: 0 done, 1 it could not be done, 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from deploy.cli import (
    dead,
    events,
    infer,
    load,
    models,
    policy,
    push,
    residency,
    sessions,
    unload,
    up,
    workers,
)
from deploy.cli.errors import CannotDo, WrongUse
from deploy.client import ClientError, ServerError
from shared.errors import WarmrouteError

DEFAULT_URL = "http://127.0.0.1:8000"
COMMANDS = (
    up, push, models, infer, load, unload, policy, sessions, residency, workers, events, dead,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `warmroute`."""
    options = make_parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except WrongUse as error:
        return _tell(error, 2)
    except (CannotDo, ClientError, WarmrouteError) as error:
        return _tell(error, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def make_parser() -> argparse.ArgumentParser:
    """All subcommands, with the options that they share."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print JSON for programs")
    gateway = argparse.ArgumentParser(add_help=False, parents=[shared])
    gateway.add_argument(
        "--url",
        default=os.environ.get("WARMROUTE_URL") or DEFAULT_URL,
        help="gateway to ask (default: WARMROUTE_URL, or %(default)s)",
    )
    parser = argparse.ArgumentParser(prog="warmroute", description="Router for many models.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(subparsers, shared=shared, gateway=gateway)
    return parser


def _tell(error: Exception, status: int) -> int:
    code = f" (HTTP {error.status})" if isinstance(error, ServerError) else ""
    print(f"warmroute: {error}{code}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
