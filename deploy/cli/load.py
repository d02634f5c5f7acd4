"""`warmroute load MODEL` and `warmroute unload MODEL`: load or free a model, and wait for it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from deploy.cli.options import FORM, read_model, seconds
from deploy.cli.output import Subparsers, show
from warmroute import Client


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare both subcommands."""
    load = subparsers.add_parser("load", parents=[gateway], help="load a model on some worker")
    load.add_argument("model", metavar=FORM, help="default: the latest version")
    load.add_argument("--timeout", type=seconds, metavar="S", help="seconds to wait")
    load.add_argument("--no-wait", action="store_true", help="order the load and return at once")
    load.set_defaults(run=run_load)
    unload = subparsers.add_parser(
        "unload",
        parents=[gateway],
        help="free every copy of a model",
        epilog="The next request loads the model again. Its min_copies and preload are 0 from now "
        "on; `policy` sets them again.",
    )
    unload.add_argument("model", metavar=FORM, help="default: every version that has a copy")
    unload.add_argument("--timeout", type=seconds, metavar="S", help="seconds to wait")
    unload.set_defaults(run=run_unload)


def run_load(options: Namespace) -> int:
    """Load it, and print the workers that hold it."""
    name, version = read_model(options.model)
    with Client(options.url) as client:
        done = client.load(name, version=version, timeout=options.timeout, wait=not options.no_wait)
    row = [done["name"], done["version"], done["state"], " ".join(done.get("workers", []))]
    show(options, done, ["model", "version", "state", "workers"], [row])
    return 0


def run_unload(options: Namespace) -> int:
    """Free it, and print the workers that had a copy."""
    name, version = read_model(options.model)
    with Client(options.url) as client:
        done = client.unload(name, version=version, timeout=options.timeout)
    rows = [
        [row["name"], row["version"], row["state"], " ".join(row["freed"])]
        for row in done["versions"]
    ]
    show(options, done, ["model", "version", "state", "freed on"], rows)
    return 0
