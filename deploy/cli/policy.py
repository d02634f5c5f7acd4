"""`warmroute policy MODEL`: how many copies there should be and which stay; shown, or changed."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

import msgspec

from deploy.cli.errors import WrongUse
from deploy.cli.output import Subparsers, show
from deploy.cli.versions import FORM, read_model
from shared.policy import OVERRIDES
from warmroute import Client


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "policy",
        parents=[gateway],
        help="show or change the residency policy of a model",
        epilog=f"FIELD is one of {', '.join(OVERRIDES)}. Without a VALUE the manifest's own is "
        "in force again.",
    )
    parser.add_argument("model", metavar=FORM, help="default: the latest version")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="once per field"
    )
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Change what --set names, and print the policy in force."""
    name, version = read_model(options.model)
    named = [read_field(text) for text in options.set]
    fields = dict(named)
    if len(fields) < len(named):
        raise WrongUse("--set: a field may be set once")
    with Client(options.url) as client:
        if fields:
            document = client.set_policy(name, fields, version=version)
        else:
            document = client.policy(name, version=version)
    rows = [
        [field, _text(value), _text(document["manifest"].get(field)), _origin(document, field)]
        for field, value in document["policy"].items()
    ]
    show(options, document, ["field", "in force", "manifest", "set by"], rows)
    return 0


def read_field(text: str) -> tuple[str, Any]:
    """`FIELD=VALUE` as a field and its value, None without one; the gateway says what it may be."""
    name, sign, value = text.partition("=")
    if not sign or name not in OVERRIDES:
        raise WrongUse(f"--set {text!r}: want FIELD=VALUE, a FIELD of {', '.join(OVERRIDES)}")
    try:
        return name, msgspec.json.decode(value) if value else None
    except msgspec.DecodeError:
        raise WrongUse(f"--set {text!r}: want a number, true or false") from None


def _text(value: Any) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()


def _origin(document: dict[str, Any], field: str) -> str:
    return "API" if field in document["overrides"] else "manifest"
