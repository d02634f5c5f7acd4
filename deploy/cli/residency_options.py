"""Options of `warmroute push` that write the residency policy into the manifest."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from typing import Any

import msgspec

from deploy.cli.errors import WrongUse
from shared.errors import InvalidInput
from shared.policy import Policy, check

_WRONG = re.compile(r"Expected (.+) - at `\$\.([\w.]+)`")


def add_options(parser: ArgumentParser) -> None:
    """Declare them; what is not given stays as a policy has it by itself."""
    group = parser.add_argument_group("residency", "how many copies there are, and which stay")
    group.add_argument("--preload", action="store_true", help="load it before anybody asks")
    group.add_argument("--pin", action="store_true", help="never evict it")
    group.add_argument("--min-copies", type=int, metavar="N", help="copies to have at any time")
    group.add_argument("--max-copies", type=int, metavar="N", help="copies at most")
    group.add_argument(
        "--priority", type=int, metavar="1..9", help="1 stays longest, 9 goes first (default: 5)"
    )
    group.add_argument("--idle-ttl", type=float, metavar="S", help="free it when idle for so long")
    group.add_argument("--min-residency", type=float, metavar="S", help="keep it for so long")
    group.add_argument(
        "--fraction", type=float, metavar="0..1", help="share of a device that a copy counts as"
    )
    group.add_argument("--affinity", metavar="KEY", help="on one worker with others of this key")
    group.add_argument("--require-affinity", action="store_true", help="and on no other")
    group.add_argument(
        "--max-models-per-worker", type=int, metavar="N", help="of that key, on one worker"
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
    """The option that is wrong, what was given and what is wanted."""
    found = _WRONG.fullmatch(said)
    if found is None:
        return f"residency: {said}"
    wanted, path = found[1].replace("`", ""), found[2].split(".")
    value: Any = fields
    for name in path:
        value = value[name]
    option = "affinity" if path[-1] == "key" else path[-1].removesuffix("_s").replace("_", "-")
    return f"--{option}: {value}, want {wanted}"


def _affinity(options: Namespace) -> dict[str, Any] | None:
    if options.affinity is None:
        if options.require_affinity or options.max_models_per_worker is not None:
            raise WrongUse("--require-affinity, --max-models-per-worker: want --affinity KEY too")
        return None
    mode = "require" if options.require_affinity else "prefer"
    most = options.max_models_per_worker or 0
    return {"key": options.affinity, "mode": mode, "max_models_per_worker": most}
