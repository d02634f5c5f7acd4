"""The model repository that a subcommand works on: `--repository`, or MODEL_REPOSITORY."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from deploy.cli.errors import WrongUse
from shared.repository import Repository, open_repository


def add_option(parser: ArgumentParser) -> None:
    """Declare `--repository`."""
    parser.add_argument("--repository", metavar="URL", help="default: MODEL_REPOSITORY")


def opened(options: Namespace) -> Repository:
    """It, once it has been reached. WrongUse if none is named, RepositoryError if it is away."""
    url = options.repository or os.environ.get("MODEL_REPOSITORY", "")
    if not url:
        raise WrongUse("which repository? give --repository, or set MODEL_REPOSITORY")
    repository = open_repository(url, endpoint_url=os.environ.get("S3_ENDPOINT_URL") or None)
    repository.check()
    return repository
