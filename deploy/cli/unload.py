"""`warmroute unload MODEL`: free every copy of a model, and wait until that is done."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from deploy.cli.options import seconds
from deploy.cli.output import Subparsers, show
from deploy.cli.versions import FORM, read_model
from warmroute import Client


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "unload",
        parents=[gateway],
        help="free every copy of a model",
        epilog="It is loaded again when somebody asks for it. Its min_copies and preload are 0 "
        "from then on, until `policy` takes that back.",
    )
    parser.add_argument("model", metavar=FORM, help="default: every version that is held")
    parser.add_argument("--timeout", type=seconds, metavar="S", help="seconds to wait")
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Unload it, and print who has freed it."""
    name, version = read_model(options.model)
    with Client(options.url) as client:
        done = client.unload(name, version=version, timeout=options.timeout)
    rows = [
        [row["name"], row["version"], row["state"], " ".join(row["freed"])]
        for row in done["versions"]
    ]
    show(options, done, ["model", "version", "state", "freed on"], rows)
    return 0
