"""`warmroute requests get|wait|cancel|list`: durable requests."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from deploy.cli import answers
from deploy.cli.errors import CannotDo, WrongUse
from deploy.cli.options import add_watch, check_watch, count, seconds
from deploy.cli.output import Subparsers, show
from warmroute import Client, ClientError, RequestFailed, TimedOut

ACTIONS = ("get", "wait", "cancel", "list")
COLUMNS = ["request", "status", "model", "worker", "deadline", "error"]
LISTED = ["request", "status", "model", "deadline", "worker"]


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "requests",
        parents=[gateway],
        help="get, wait for, cancel or list durable requests",
        epilog="get prints the outputs of a request that succeeded, else its status. wait prints a "
        "line per request when all have ended; exit status 1 if one did not succeed, or --wait is "
        "over. list shows requests that have not ended, the nearest deadline first. Outcomes are "
        f"kept for an hour, by id. {answers.EPILOG}",
    )
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("ids", nargs="*", default=[], metavar="ID", help="as `submit` prints it")
    parser.add_argument(
        "--wait", type=seconds, metavar="S", help="get, wait: wait S seconds at most",
    )  # fmt: skip
    answers.add_save(parser)
    parser.add_argument("--limit", type=count, default=50, help="how many to list (%(default)s)")
    add_watch(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Run the action."""
    _check(options)
    check_watch(options, "list", "get")
    with Client(options.url) as client:
        match options.action:
            case "list":
                return _list(options, client)
            case "get":
                return _get(options, client, options.ids[0])
            case "wait":
                return _each(options, client, _waiter(options.wait))
            case _:
                return _each(options, client, _cancel)


def _check(options: Namespace) -> None:
    named, action = len(options.ids), options.action
    if (action == "list") != (named == 0):
        raise WrongUse(f"{action}: want {'no ID' if action == 'list' else 'an ID'}")
    if action == "get" and named != 1:
        raise WrongUse("get: want one ID")
    if action != "get" and options.save is not None:
        raise WrongUse(f"{action}: --save belongs to get")
    if action not in ("get", "wait") and options.wait is not None:
        raise WrongUse(f"{action}: --wait belongs to get and wait")
    answers.check_save(options.save)


def _list(options: Namespace, client: Client) -> int:
    found = list(islice(client.requests(), options.limit))
    show(options, found, LISTED, [_row(one, LISTED) for one in found])
    return 0


def _get(options: Namespace, client: Client, request_id: str) -> int:
    pending = client.pending(request_id)
    ended = 0.0 if options.wait is None else options.wait
    try:
        with _name_failure(request_id):
            answers.show_result(options, pending.result(ended))
        return 0
    except TimedOut:
        found = pending.describe()
    if options.save is not None:
        raise CannotDo(f"request {request_id}: {found['status']}, no outputs to save yet")
    columns = [*COLUMNS, "waits"]
    show(options, found, columns, [_row(found, columns)])
    return 0


@contextmanager
def _name_failure(request_id: str) -> Iterator[None]:
    """An error about a request that did not succeed names it and its outcome."""
    try:
        yield
    except RequestFailed as error:
        raise CannotDo(f"request {request_id} {error.state}: {error.message}") from error


def _each(options: Namespace, client: Client, do: Any) -> int:
    """One line per request; status 1 if one failed. A failure does not stop the others."""
    done = []
    for request_id in options.ids:
        try:
            done.append({"id": request_id, **do(client, request_id)})
        except ClientError as error:
            done.append({"id": request_id, "status": "", "error": error.message})
    show(options, done, COLUMNS, [_row(one, COLUMNS) for one in done])
    return 1 if any("error" in one for one in done) else 0


def _waiter(within_s: float | None) -> Any:
    ends = None if within_s is None else time.monotonic() + within_s

    def wait(client: Client, request_id: str) -> dict[str, Any]:
        left = None if ends is None else max(ends - time.monotonic(), 0.0)
        pending = client.pending(request_id)
        try:
            pending.result(left)
        except (RequestFailed, TimedOut):
            found = pending.describe()
            over = {} if "error" in found else {"error": "it has not ended"}
            return found | over
        return pending.describe()

    return wait


def _cancel(client: Client, request_id: str) -> dict[str, Any]:
    pending = client.pending(request_id)
    if pending.cancel():
        return {"status": "cancelled"}
    return {"status": pending.status(), "error": "it had already ended"}


def _row(found: dict[str, Any], columns: list[str]) -> list[str]:
    model = ":".join(str(found[name]) for name in ("model", "version") if name in found)
    shown = {**found, "request": found["id"], "model": model}
    return [str(shown.get(name, "")) for name in columns]
