"""`warmroute session open|list|show|keep|close`: sets of pinned models."""

from __future__ import annotations

import math
import threading
from argparse import ArgumentParser, Namespace
from typing import Any

from deploy.cli.errors import WrongUse
from deploy.cli.options import FORM, add_watch, check_watch, read_model, seconds
from deploy.cli.output import Subparsers, show
from warmroute import Client, Session
from warmroute.session import ModelName

ACTIONS = ("open", "list", "show", "keep", "close")


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "session",
        parents=[gateway],
        help="pin a set of models",
        epilog=f"open takes one or more {FORM}; show, keep and close take ids of sessions. A "
        "session ends after --ttl seconds, unless keep extends it.",
    )
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument(
        "names", nargs="*", default=[], metavar="NAME", help="models, or ids of sessions"
    )
    parser.add_argument("--ttl", type=seconds, metavar="S", help="seconds until it ends")
    parser.add_argument("--id", help="open: its id; opening it again returns the same session")
    parser.add_argument(
        "--wait", action="store_true", help="open: wait until its models are loaded"
    )
    parser.add_argument("--hold", action="store_true", help="open: keep it open until Ctrl-C")
    add_watch(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Run the action."""
    _check(options)
    check_watch(options, "list", "show")
    with Client(options.url) as client:
        match options.action:
            case "open":
                _open(options, client)
            case "list":
                sessions = list(client.sessions())
                show(options, sessions, ["session", "expires", "models"], _rows(sessions))
            case "show":
                _show(options, client.session_info(options.names[0]))
            case "keep":
                kept = [client.keep_session(name, options.ttl) for name in options.names]
                rows = [[row["id"], row["expires_at"]] for row in kept]
                show(options, kept, ["session", "expires"], rows)
            case "close":
                for name in options.names:
                    client.close_session(name)
    return 0


def _check(options: Namespace) -> None:
    named, action = len(options.names), options.action
    if (action == "list") != (named == 0):
        raise WrongUse(f"{action}: want {'no NAME' if action == 'list' else 'a NAME'}")
    if action == "show" and named != 1:
        raise WrongUse("show: want the id of one session")
    if action != "open" and (options.id or options.wait or options.hold):
        raise WrongUse(f"{action}: --id, --wait and --hold belong to open")
    if action not in ("open", "keep") and options.ttl is not None:
        raise WrongUse(f"{action}: --ttl belongs to open and keep")
    if options.ttl is not None and not math.isfinite(options.ttl):
        raise WrongUse(f"--ttl {options.ttl}: want seconds")


def _open(options: Namespace, client: Client) -> None:
    models = [_model(name) for name in options.names]
    ttl = 60.0 if options.ttl is None else options.ttl
    session = client.session(models, ttl=ttl, wait=options.wait, id=options.id)
    if not options.hold:
        _show(options, session.open())
        return
    with session:
        _show(options, client.session_info(session.id))
        _hold(session)


def _hold(session: Session) -> None:
    """Until Ctrl-C, which closes the session."""
    threading.Event().wait()


def _model(text: str) -> ModelName:
    name, version = read_model(text)
    return name if version is None else (name, version)


def _show(options: Namespace, session: dict[str, Any]) -> None:
    rows = [
        [session["id"], session["expires_at"], model["name"], model["version"], model["state"],
         model.get("error", "") or " ".join(model.get("workers", []))]
        for model in session["models"]
    ]  # fmt: skip
    columns = ["session", "expires", "model", "version", "state", "workers, or why not"]
    show(options, session, columns, rows)


def _rows(sessions: list[dict[str, Any]]) -> list[list[str]]:
    return [
        [
            row["id"],
            row["expires_at"],
            " ".join(f"{m['name']}:{m['version']}" for m in row["models"]),
        ]
        for row in sessions
    ]
