"""Parses the command line, runs one command, and prints errors as one sentence.

Exit status: 0 done, 1 failed, 2 the command line is wrong, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from deploy.cli import (
    completion,
    dead,
    events,
    infer,
    load,
    models,
    policy,
    push,
    requests,
    residency,
    sessions,
    up,
)
from deploy.cli.errors import CannotDo, WrongUse
from deploy.cli.options import Parser, watch
from deploy.cli.output import say
from shared import command_line
from shared.config import RouterConfig, WorkerConfig
from shared.errors import WarmrouteError
from warmroute import ClientError, InvalidInput, ServerError
from warmroute.urls import default_url

COMMANDS = (
    up, push, models, infer, requests, load, policy, sessions, residency, events, dead, completion,
)  # fmt: skip
DEBUG = "WARMROUTE_DEBUG"
NEEDS = "for pushing models: pip install 'warmroute[worker]'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `warmroute`."""
    _accept_all_characters()
    for sentence in command_line.unknown_names(os.environ, (RouterConfig, WorkerConfig)):
        say(f"warmroute: {sentence}", error=True)
    parser = make_parser()
    options = parser.parse_args(arguments)
    if "run" not in options:
        parser.print_help()
        return 0
    try:
        return _run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        _drop_output()
        return 0
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        return _last_resort(error)


def _run(options: argparse.Namespace) -> int:
    try:
        run = options.run
        status: int = watch(options, run) if getattr(options, "watch", None) else run(options)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a closed pipe is handled
    except (WrongUse, InvalidInput) as error:
        return _report(error, 2)
    except (CannotDo, ClientError, WarmrouteError) as error:
        return _report(error, 1)
    return status


def make_parser() -> argparse.ArgumentParser:
    """All subcommands, with the options that they share."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print JSON for programs")
    gateway = argparse.ArgumentParser(add_help=False, parents=[shared])
    gateway.add_argument(
        "--url",
        default=default_url(),
        help="address of the gateway (default: WARMROUTE_URL, or %(default)s)",
    )
    parser = Parser(
        prog="warmroute",
        description="Run, publish and manage models on a fleet of workers.",
        epilog=f"Each COMMAND has --help. {DEBUG}=1 shows the traceback of an unexpected error.",
    )
    parser.add_argument(
        "--version", action="version", version=f"warmroute {command_line.version()}"
    )
    subparsers = parser.add_subparsers(metavar="COMMAND")
    for command in COMMANDS:
        command.add(subparsers, shared=shared, gateway=gateway)
    parser.set_defaults(parser=parser)
    return parser


def _report(error: Exception, status: int) -> int:
    code = f" (HTTP {error.status})" if isinstance(error, ServerError) else ""
    say(f"warmroute: {error}{code}", error=True)
    return status


def _last_resort(error: Exception) -> int:
    """One sentence for unforeseen errors: a full disk, a missing package, a bug."""
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        said = f"{named}{error.strerror or error}"
    elif isinstance(error, ImportError):
        said = f"{error}; {NEEDS}"
    else:
        first = str(error).partition("\n")[0][:300]
        said = f"unexpected {type(error).__name__}: {first} ({DEBUG}=1 shows the traceback)"
    _drop_output()
    say(f"warmroute: {said}", error=True)
    return 1


def _accept_all_characters() -> None:
    """Write a character that the terminal does not have as its number, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Discard unwritten output: Python would write it at exit, and print an error."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
