"""`warmroute models`: what the repository holds; versions and signature of one model; `delete`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from deploy.cli import repository
from deploy.cli.errors import WrongUse
from deploy.cli.options import add_watch
from deploy.cli.output import Subparsers, say, show
from shared.names import check_model_name
from warmroute import Client

VERSIONS = ["version", "live", "state", "workers", "why not"]
USAGE = """%(prog)s [--ready] [--prefix TEXT]  every model of the repository
       %(prog)s NAME                       its versions and its signature
       %(prog)s delete NAME [--version N]  take versions out of the repository"""


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "models",
        parents=[gateway],
        help="list models, show one, or delete it",
        usage=USAGE,
        epilog="After a delete, requests without a version get the newest that is left. Files that "
        "other versions may share stay in the repository. Copies in memory stay until they are "
        "evicted, or until `warmroute unload`.",
    )
    parser.add_argument("words", nargs="*", default=[], metavar="[delete] NAME")
    parser.add_argument("--ready", action="store_true", help="only models that a worker holds")
    parser.add_argument("--prefix", metavar="TEXT", help="only models whose names begin so")
    add_watch(parser)
    parser.add_argument("--version", type=int, metavar="N", help="delete: only this one")
    parser.add_argument("--yes", action="store_true", help="delete: without confirmation")
    repository.add_option(parser)
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print the repository index, or one model; or delete."""
    words = options.words
    if len(words) == 2 and words[0] == "delete":
        if options.watch is not None:
            raise WrongUse("delete: --watch works only for commands that change nothing")
        return repository.delete(options, check_model_name(words[1]))
    if len(words) > 1:
        raise WrongUse(f"{' '.join(words)}: want a model's NAME, or delete NAME")
    if options.version is not None or options.yes:
        raise WrongUse("--version and --yes belong to `warmroute models delete NAME`")
    return _show_one(options, words[0]) if words else _show_all(options)


def _show_all(options: Namespace) -> int:
    with Client(options.url) as client:
        index = client.models(ready=True if options.ready else None, prefix=options.prefix)
    rows = [
        [entry["name"], entry.get("version", ""), entry["state"], entry.get("reason", "")]
        for entry in index
    ]
    show(options, index, ["model", "version", "state", "reason"], rows)
    return 0


def _show_one(options: Namespace, name: str) -> int:
    if options.ready or options.prefix is not None:
        raise WrongUse("--ready or --prefix lists models, and takes no NAME")
    with Client(options.url) as client:
        found = client.versions(name)
        signature = client.model(name) if found["serves"] is not None else {}
    show(
        options,
        {**found, "signature": signature},
        VERSIONS,
        [_row(row) for row in found["versions"]],
    )
    if not options.json:
        for line in _facts(found, signature):
            say(line)
    return 0


def _row(row: dict[str, Any]) -> list[str]:
    live = "yes" if row["live"] else ""
    return [row["version"], live, row["state"], " ".join(row["workers"]), row.get("error", "")]


def _facts(found: dict[str, Any], signature: dict[str, Any]) -> list[str]:
    """The lines below the table."""
    lines = [f"{found['not_shown']} older versions"] if found["not_shown"] else []
    if not signature:
        return [*lines, "no version can be served"]
    batch = {row["version"]: row.get("max_batch", 1) for row in found["versions"]}.get(
        found["serves"], 1
    )
    batching = f"batches of at most {batch}" if batch > 1 else "never batched"
    lines.append(
        f"requests without a version get {found['serves']}: {signature['platform']}, {batching}"
    )
    for field in ("inputs", "outputs"):
        lines += [f"  {field[:-1]:<6} {_tensor(spec)}" for spec in signature[field]]
    return lines


def _tensor(spec: dict[str, Any]) -> str:
    optional = "  optional" if spec.get("optional") else ""
    return f"{spec['name']}  {spec['datatype']}  {spec['shape']}{optional}"
