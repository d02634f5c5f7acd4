"""`warmroute models delete NAME`: versions disappear from the repository, the newest first."""

from __future__ import annotations

import sys
from argparse import Namespace

from deploy.cli import repository
from deploy.cli.errors import CannotDo, WrongUse
from deploy.cli.output import show


def run(options: Namespace, name: str) -> int:
    """Ask, delete, and say what is left. The newest goes first: broken off, the rest is whole."""
    store = repository.opened(options)
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
        raise WrongUse(f"{question} Say so with --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CannotDo("nothing was deleted")


def _listed(versions: list[int]) -> str:
    word = "version" if len(versions) == 1 else "versions"
    return f"{word} {', '.join(map(str, versions))}"
