"""`warmroute submit MODEL NAME=VALUE`: hand a request over, and get the id to ask for it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from deploy.cli import inputs
from deploy.cli.infer import add_question, read_question
from deploy.cli.output import Subparsers, show_json
from warmroute import Client


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "submit",
        parents=[gateway],
        help="hand a request over, and print its id",
        epilog=f"`warmroute requests get ID` asks for it. --timeout: how long it may wait and run. "
        f"{inputs.EPILOG}",
    )
    add_question(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print the id alone, for a script to keep; it is durable then."""
    with Client(options.url) as client:
        pending = client.submit(**read_question(options, client))
    if options.json:
        show_json({"id": pending.id, "status": "queued"})
    else:
        print(pending.id)
    return 0
