"""`warmroute dead list|show|replay|drop`: dead letters."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from itertools import islice
from typing import Any

from deploy.cli.errors import WrongUse
from deploy.cli.options import add_watch, check_watch, count
from deploy.cli.output import Subparsers, show, show_json
from warmroute import Client, ClientError

ACTIONS = ("list", "show", "replay", "drop")
COLUMNS = ["entry", "died", "model", "worker", "attempts", "code", "error"]


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "dead",
        parents=[gateway],
        help="list, show, replay or drop dead letters",
        epilog="replay sends a letter as a new request with a new deadline. An invalid stream "
        "entry goes back to the ingress stream. A replayed or dropped letter is deleted.",
    )
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument(
        "entries", nargs="*", default=[], metavar="ENTRY", help="as `list` prints them"
    )
    parser.add_argument("--all", action="store_true", help="replay or drop every letter")
    parser.add_argument("--limit", type=count, default=50, help="how many to list (%(default)s)")
    add_watch(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Run the action."""
    _check(options)
    check_watch(options, "list", "show")
    with Client(options.url) as client:
        if options.action == "list":
            return _list(options, client)
        if options.action == "show":
            show_json(client.dead_letter(options.entries[0]))
            return 0
        entries = options.entries
        if options.all:
            entries = [letter["entry"] for letter in client.dead_letters()]
        return _each(options, entries, _replay if options.action == "replay" else _drop, client)


def _check(options: Namespace) -> None:
    """WrongUse unless the action got the ENTRY arguments that it takes."""
    named, action = len(options.entries), options.action
    if options.all and (named or action not in ("replay", "drop")):
        raise WrongUse("--all: for replay and drop, without an ENTRY")
    if action == "list" and (named or options.limit < 1):
        raise WrongUse("list: want no ENTRY, and a --limit from 1")
    if action == "show" and named != 1:
        raise WrongUse("show: want one ENTRY")
    if action in ("replay", "drop") and not named and not options.all:
        raise WrongUse(f"{action}: want an ENTRY, several, or --all")


def _list(options: Namespace, client: Client) -> int:
    letters = list(islice(client.dead_letters(), options.limit))
    rows = [[str(letter.get(column, "")) for column in COLUMNS] for letter in letters]
    show(options, letters, COLUMNS, rows)
    return 0


def _each(
    options: Namespace,
    entries: list[str],
    do: Callable[[Client, str], dict[str, Any]],
    client: Client,
) -> int:
    """One line per letter; status 1 if one failed. A failure does not stop the others."""
    done = []
    for entry in entries:
        try:
            done.append({"entry": entry, **do(client, entry)})
        except ClientError as error:
            done.append({"entry": entry, "error": error.message})
    columns = ["entry", "done", "request", "error"]
    show(options, done, columns, [[row.get(name, "") for name in columns] for row in done])
    return 1 if any("error" in row for row in done) else 0


def _replay(client: Client, entry: str) -> dict[str, Any]:
    pending = client.replay_dead_letter(entry)
    if pending is None:
        return {"done": "returned to the ingress stream"}
    return {"done": "replayed", "request": pending.id}


def _drop(client: Client, entry: str) -> dict[str, Any]:
    client.drop_dead_letter(entry)
    return {"done": "dropped"}
