"""`warmroute workers`: the workers, how full each is, and what waits for it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from deploy.cli.output import Subparsers, mib, show
from deploy.client import Client


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser("workers", parents=[gateway], help="list the workers")
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print one row per worker."""
    with Client(options.url) as client:
        workers = client.residency()
    rows = [
        [
            worker["id"],
            worker["device"],
            worker["state"],
            mib(worker["used_bytes"]),
            mib(worker["budget_bytes"]),
            str(len(worker["models"])),
            str(worker["queue"]),
        ]
        for worker in workers
    ]
    columns = ["worker", "device", "state", "used", "budget", "models", "queue"]
    show(options, {"workers": workers}, columns, rows)
    return 0
