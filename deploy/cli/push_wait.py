"""`warmroute push --wait`, and the message about the published version."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from deploy.cli.errors import CannotDo
from deploy.cli.options import seconds
from warmroute import (
    BadResponse,
    Client,
    ClientError,
    ConnectionFailed,
    NotFound,
    TimedOut,
)

USUAL_TIMEOUT_S = 60.0


def add_options(parser: ArgumentParser) -> None:
    """Declare `--wait` and `--timeout`."""
    parser.add_argument(
        "--wait", action="store_true", help="wait until a worker has loaded it, or print why not"
    )
    parser.add_argument(
        "--timeout", type=seconds, default=USUAL_TIMEOUT_S, metavar="S",
        help="seconds to --wait (default: %(default)g)",
    )  # fmt: skip


def until_live(options: Namespace, name: str, version: int) -> list[str]:
    """The workers that have loaded it. CannotDo says why none has; it stays published."""
    try:
        with Client(options.url) as client:
            done = client.load(name, version=version, timeout=options.timeout)
    except ClientError as error:
        why = _why(options, error)
        raise CannotDo(f"{name} version {version} is published, but not loaded: {why}") from error
    return list(done["workers"])


def _why(options: Namespace, error: ClientError) -> str:
    if isinstance(error, NotFound):
        return f"{error.message}, says the gateway at {options.url}: has it another repository?"
    if isinstance(error, ConnectionFailed | BadResponse | TimedOut):
        return f"{error.message} (--url or WARMROUTE_URL names the gateway)"
    return error.message


def news(options: Namespace, name: str, version: int, *, unchanged: bool) -> str:
    """A sentence for people."""
    if options.wait:
        return f"{name} version {version} is loaded"
    if unchanged:
        return f"unchanged: version {version} exists already"
    return (
        f"requests without a version get version {version} once a worker has loaded it; the next "
        "request starts the load, and --wait starts it now"
    )
