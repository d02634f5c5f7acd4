"""`warmroute load MODEL`: have a model loaded somewhere, and wait until it is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from deploy.cli.options import seconds
from deploy.cli.output import Subparsers, show
from deploy.cli.versions import FORM, read_model
from warmroute import Client


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("load", parents=[gateway], help="have a model loaded")
    parser.add_argument("model", metavar=FORM, help="default: the latest version")
    parser.add_argument("--timeout", type=seconds, metavar="S", help="seconds to wait")
    parser.add_argument("--no-wait", action="store_true", help="order it, and return at once")
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Load it, and print who holds it."""
    name, version = read_model(options.model)
    with Client(options.url) as client:
        done = client.load(name, version=version, timeout=options.timeout, wait=not options.no_wait)
    row = [done["name"], done["version"], done["state"], " ".join(done.get("workers", []))]
    show(options, done, ["model", "version", "state", "workers"], [row])
    return 0
