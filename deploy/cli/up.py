"""`warmroute up`: everything on this machine, as `make up` does it."""

from __future__ import annotations

import dataclasses
import os
from argparse import ArgumentParser, Namespace

from deploy.cli.errors import CannotDo, WrongUse
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
    """Run the stack in this process; see `deploy/up`."""
    try:
        from deploy.up.settings import BadSetting, read_settings
        from deploy.up.stack import CannotStart, run_stack
    except ImportError as error:
        raise CannotDo(f"{error}: {INSTALL}") from error

    given = {"WORKERS": options.workers, "WEB": options.web, "PORT": options.port}
    env = {**os.environ, **{name: str(n) for name, n in given.items() if n is not None}}
    try:
        settings = read_settings(env)
        if options.once:
            settings = dataclasses.replace(settings, once=True)
        return run_stack(settings, as_json=options.json)
    except BadSetting as error:
        raise WrongUse(str(error)) from error
    except CannotStart as error:
        raise CannotDo(str(error)) from error
    except ImportError as error:  # the samples are made with torch
        raise CannotDo(f"{error}: {INSTALL}") from error
