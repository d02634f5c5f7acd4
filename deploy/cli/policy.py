"""Residency policies: `warmroute policy MODEL`, and options of `push` for the manifest's policy.

A policy says how many copies a model version has, and which copies are evicted last.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from typing import Any

import msgspec

from deploy.cli.errors import WrongUse
from deploy.cli.options import FORM, read_model
from deploy.cli.output import Subparsers, show
from shared.errors import InvalidInput
from shared.policy import OVERRIDES, Policy, check
from warmroute import Client

_WRONG = re.compile(r"Expected (.+) - at `\$\.([\w.]+)`")


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "policy",
        parents=[gateway],
        help="show or change the residency policy of a model",
        epilog=f"FIELD is one of {', '.join(OVERRIDES)}. Without a VALUE the manifest's value "
        "applies again.",
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
    """`FIELD=VALUE` as a field and its value, None without one; the gateway checks the value."""
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


def add_options(parser: ArgumentParser) -> None:
    """Declare them; an option that is not given keeps the default of the policy."""
    group = parser.add_argument_group(
        "residency", "how many copies there are, and which are evicted last"
    )
    group.add_argument("--preload", action="store_true", help="load it before the first request")
    group.add_argument("--pin", action="store_true", help="never evict it")
    group.add_argument("--min-copies", type=int, metavar="N", help="copies to have at any time")
    group.add_argument("--max-copies", type=int, metavar="N", help="copies at most")
    group.add_argument(
        "--priority", type=int, metavar="1..9", help="1 is evicted last, 9 first (default: 5)"
    )
    group.add_argument(
        "--idle-ttl", type=float, metavar="S", help="evict it after S seconds without a request"
    )
    group.add_argument(
        "--min-residency", type=float, metavar="S", help="keep it for at least S seconds"
    )
    group.add_argument(
        "--fraction", type=float, metavar="0..1", help="share of a device that a copy counts as"
    )
    group.add_argument("--affinity", metavar="KEY", help="share one worker with models of this key")
    group.add_argument("--require-affinity", action="store_true", help="never use another worker")
    group.add_argument(
        "--max-models-per-worker", type=int, metavar="N", help="at most N models of that key"
    )


def read_policy(options: Namespace) -> Policy:
    """The policy that the options give; WrongUse naming the one that is wrong."""
    given: dict[str, Any] = {
        "min_copies": options.min_copies,
        "max_copies": options.max_copies,
        "priority": options.priority,
        "idle_ttl_s": options.idle_ttl,
        "min_residency_s": options.min_residency,
        "fraction": options.fraction,
        "pin": options.pin or None,
        "preload": options.preload or None,
        "affinity": _affinity(options),
    }
    fields = {name: value for name, value in given.items() if value is not None}
    try:
        policy = msgspec.convert(fields, Policy)
        check(policy)
    except msgspec.ValidationError as error:
        raise WrongUse(_by_option(str(error), fields)) from error
    except InvalidInput as error:
        raise WrongUse(f"residency: {error}") from error
    return policy


def _by_option(said: str, fields: dict[str, Any]) -> str:
    """The option that is wrong, the value it has, and the values it may have."""
    found = _WRONG.fullmatch(said)
    if found is None:
        return f"residency: {said}"
    expected, path = found[1].replace("`", ""), found[2].split(".")
    value: Any = fields
    for name in path:
        value = value[name]
    option = "affinity" if path[-1] == "key" else path[-1].removesuffix("_s").replace("_", "-")
    return f"--{option}: {value}, want {expected}"


def _affinity(options: Namespace) -> dict[str, Any] | None:
    if options.affinity is None:
        if options.require_affinity or options.max_models_per_worker is not None:
            raise WrongUse("--require-affinity, --max-models-per-worker: want --affinity KEY too")
        return None
    mode = "require" if options.require_affinity else "prefer"
    most = options.max_models_per_worker or 0
    return {"key": options.affinity, "mode": mode, "max_models_per_worker": most}
