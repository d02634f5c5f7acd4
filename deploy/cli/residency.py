"""`warmroute residency`: which worker holds which model, as a table of workers by models."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from deploy.cli.output import Subparsers, show
from deploy.client import Client


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "residency", parents=[gateway], help="show which worker holds which model"
    )
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print the residency map."""
    with Client(options.url) as client:
        workers = client.residency()
    columns, rows = as_table(workers)
    show(options, {"workers": workers}, columns, rows)
    return 0


def as_table(workers: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """One row per model, one column per worker; a cell is the tier there, or empty."""
    tiers: dict[str, dict[str, str]] = {}
    for worker in workers:
        for model in worker["models"]:
            name = f"{model['name']} {model['version']}"
            tiers.setdefault(name, {})[worker["id"]] = model["tier"]
    ids = [worker["id"] for worker in workers]
    rows = [[name, *(held.get(id, "") for id in ids)] for name, held in sorted(tiers.items())]
    return ["model", *ids], rows
