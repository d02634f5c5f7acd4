"""`warmroute up`: everything on this machine, as `make up` does it."""

from __future__ import annotations

import dataclasses
import os
from argparse import ArgumentParser, Namespace

from deploy.cli.errors import CannotDo
from deploy.cli.output import Subparsers

INSTALL = "`up` needs pip install 'warmroute[worker,local]'"


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "up",
        parents=[shared],
        help="run Redis, S3, gateway, workers and sample models on this machine",
        epilog="REDIS_URL and MODEL_REPOSITORY name servers to use in place of embedded ones.",
    )
    parser.add_argument("--workers", type=int, help="default: WORKERS, or 2")
    parser.add_argument("--web", type=int, help="gateways (default: WEB, or 1)")
    parser.add_argument("--port", type=int, help="default: PORT, or 8000, or a free one")
    parser.add_argument("--once", action="store_true", help="stop after the table of answers")
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Run the cluster in this process; see `deploy/local/up.py`."""
    try:
        from deploy.local.settings import read_settings
        from deploy.local.up import run_up

        given = {"WORKERS": options.workers, "WEB": options.web, "PORT": options.port}
        settings = read_settings(
            {**os.environ, **{name: str(n) for name, n in given.items() if n is not None}}
        )
        if options.once:
            settings = dataclasses.replace(settings, once=True)
        return run_up(settings, as_json=options.json)
    except ImportError as error:  # of an extra; the samples are made with torch
        raise CannotDo(f"{error}: {INSTALL}") from error
