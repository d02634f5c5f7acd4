"""`warmroute workers`: the workers, how full and how busy each is, and what waits for it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from deploy.cli.output import Subparsers, mib, show
from deploy.cli.watching import add_watch
from warmroute import Client

COLUMNS = [
    "worker", "device", "state", "used", "budget", "models", "queue", "busy", "service",
    "host used", "host budget",
]  # fmt: skip


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "workers",
        parents=[gateway],
        help="list the workers",
        epilog="busy: share of the device's time that is used; service: device time of a request.",
    )
    add_watch(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print one row per worker."""
    with Client(options.url) as client:
        workers = client.workers()
    show(options, {"workers": workers}, COLUMNS, [cells(worker) for worker in workers])
    return 0


def cells(worker: dict[str, Any]) -> list[str]:
    """A row of the table."""
    models = str(len(worker["models"]))
    if worker.get("max_models"):
        models += f"/{worker['max_models']}"
    return [
        worker["id"],
        worker["device"],
        worker["state"],
        mib(worker["used_bytes"]),
        mib(worker["budget_bytes"]),
        models,
        str(worker["queue"]),
        f"{100 * worker.get('busy', 0):.0f} %",
        f"{worker.get('service_ms', 0):.1f} ms",
        mib(worker.get("host_used_bytes", 0)),
        mib(worker.get("host_budget_bytes", 0)),
    ]
