"""`warmroute models`: what the repository holds, and what of it is in memory somewhere."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from deploy.cli.output import Subparsers, show
from deploy.cli.watching import add_watch
from deploy.client import Client


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("models", parents=[gateway], help="list models and their states")
    parser.add_argument("--ready", action="store_true", help="only those in memory somewhere")
    add_watch(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print the repository index."""
    with Client(options.url) as client:
        index = client.models(ready=True if options.ready else None)
    rows = [
        [entry["name"], entry.get("version", ""), entry["state"], entry.get("reason", "")]
        for entry in index
    ]
    show(options, index, ["model", "version", "state", "reason"], rows)
    return 0
