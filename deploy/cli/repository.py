"""The model repository of a command: `--repository`, or MODEL_REPOSITORY; and deleting from it."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace

from deploy.cli.errors import CannotDo, WrongUse
from deploy.cli.output import show
from shared.repository import Repository, open_repository
from shared.repository.options import options_of


def add_option(parser: ArgumentParser) -> None:
    """Declare `--repository`."""
    parser.add_argument("--repository", metavar="URL", help="default: MODEL_REPOSITORY")


def opened(options: Namespace) -> Repository:
    """The repository. WrongUse if none is named, RepositoryError if it does not answer."""
    url = options.repository or os.environ.get("MODEL_REPOSITORY", "")
    if not url:
        raise WrongUse("no repository is named: give --repository, or set MODEL_REPOSITORY")
    repository = open_repository(url, **options_of(os.environ))
    repository.check()
    return repository


def delete(options: Namespace, name: str) -> int:
    """Confirm, delete, and print what is left. The newest is deleted first, so an interrupted
    delete leaves a usable model."""
    store = opened(options)
    there = store.list_versions(name)
    if not there:
        raise CannotDo(f"model {name!r} is not in {store.url}")
    if options.version is not None and options.version not in there:
        raise CannotDo(f"model {name!r} has no version {options.version}, but {_listed(there)}")
    going = there[::-1] if options.version is None else [options.version]
    if not options.yes:
        _confirm(f"delete {name} {_listed(going[::-1])} from {store.url}?")
    for version in going:
        store.delete_manifest(name, version)
    left = [version for version in there if version not in going]
    document = {"name": name, "deleted": sorted(going), "left": left}
    row = [name, _listed(sorted(going)), _listed(left) if left else "none"]
    show(options, document, ["model", "deleted", "left"], [row])
    return 0


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise WrongUse(f"{question} Confirm with --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CannotDo("nothing was deleted")


def _listed(versions: list[int]) -> str:
    word = "version" if len(versions) == 1 else "versions"
    return f"{word} {', '.join(map(str, versions))}"
