"""`warmroute residency [MODEL]` and `warmroute workers`: what each worker holds and does."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from deploy.cli.options import add_watch, count
from deploy.cli.output import Subparsers, mib, say, show
from shared.statuses import HEALTHY
from warmroute import Client

COPY = ["worker", "tier", "own", "shared", "since", "last used", "hits"]
WORKERS = [
    "worker", "device", "state", "used", "budget", "models", "queue", "busy", "service",
    "host used", "host budget",
]  # fmt: skip
STATES = ("starting", "ready", "draining")
LOAD = ["model", "phase", "worker", "seconds", "waits"]


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare both subcommands."""
    parser = subparsers.add_parser(
        "residency", parents=[gateway], help="show which worker holds which model"
    )
    parser.add_argument("model", nargs="?", help="show everything about this model")
    parser.add_argument("--version", type=count, help="of MODEL; default: the latest")
    parser.add_argument("--prefix", metavar="TEXT", help="only models whose names begin so")
    add_watch(parser)
    parser.set_defaults(run=run)
    workers = subparsers.add_parser(
        "workers",
        parents=[gateway],
        help="list the workers",
        epilog="busy: share of time that the device is used; service: device time of a request.",
    )
    for each in (parser, workers):
        each.add_argument("--worker", metavar="ID", help="only this worker")
        each.add_argument("--state", choices=STATES, help="only workers in this state")
    add_watch(workers)
    workers.set_defaults(run=run_workers)


def run(options: Namespace) -> int:
    """Print the residency map, or one model's part of it."""
    with Client(options.url) as client:
        if options.model is not None:
            return _show_one(options, client.model_residency(options.model, options.version))
        fleet = client.residency(prefix=options.prefix, worker=options.worker, state=options.state)
    columns, rows = as_table(fleet["workers"])
    show(options, fleet, columns, rows)
    loads = fleet.get("loads", [])
    if loads and not options.json:
        show(options, loads, LOAD, [_load(load) for load in loads])
    _say_unhealthy(options, fleet["workers"])
    return 0


def as_table(workers: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """One row per model, one column per worker; a cell is the tier there, or empty."""
    tiers: dict[str, dict[str, str]] = {}
    for worker in workers:
        for model in worker["models"] + worker.get("warm", []):
            name = f"{model['name']} {model['version']}"
            tiers.setdefault(name, {})[worker["id"]] = model["tier"]
    ids = [worker["id"] for worker in workers]
    rows = [[name, *(held.get(id, "") for id in ids)] for name, held in sorted(tiers.items())]
    return ["model", *ids], rows


def _load(load: dict[str, Any]) -> list[str]:
    name, seconds = f"{load['name']} {load['version']}", f"{load.get('seconds', 0):.0f}"
    return [name, load["phase"], load.get("worker", ""), seconds, load["waits"]]


def _show_one(options: Namespace, found: dict[str, Any]) -> int:
    rows = [_copy(copy) for copy in found["copies"]]
    show(options, found, COPY, rows)
    if not options.json:
        for line in facts(found):
            say(f" {line}")
    return 0


def _copy(copy: dict[str, Any]) -> list[str]:
    return [
        copy["worker"],
        copy["tier"],
        _own(copy),
        _shared(copy),
        copy.get("since", ""),
        f"{copy['idle_s']:.0f} s ago" if "idle_s" in copy else "",
        str(copy.get("hits", "")),
    ]


def _own(copy: dict[str, Any]) -> str:
    size = copy.get("own_bytes", copy.get("bytes"))
    return "" if size is None else mib(size)


def _shared(copy: dict[str, Any]) -> str:
    """Bytes, and how many other copies on that worker hold some of them too."""
    size, others = copy.get("shared_bytes", 0), copy.get("shared_with", 0)
    return f"{mib(size)}, {others} more" if others else ""


def _learned(learned: dict[str, Any]) -> list[str]:
    """By device class what a copy takes for itself, and what others can share."""
    shared = learned.get("shared_bytes", {})
    return [
        f"{mib(own)} of its own{_and_shared(shared.get(name, 0))} on {name}"
        for name, own in learned["bytes"].items()
    ]


def _and_shared(size: int) -> str:
    return f" and {mib(size)} that others can share" if size else ""


def _served_by(workers: list[str] | None) -> str:
    return f"; still served by {', '.join(workers)}" if workers else ""


def facts(found: dict[str, Any]) -> list[str]:
    """What is shown below the copies, a line each."""
    failure, quarantine, learned = found["last_failure"], found["quarantine"], found["learned"]
    from_tier = [f"{ms:.0f} ms from {tier}" for tier, ms in learned["load_ms"].items()]
    state = "open" if quarantine and quarantine["open"] else "closed"
    policy = ", ".join(f"{name} {_plain(value)}" for name, value in found["policy"].items())
    lines = {
        "policy": policy,
        "set by the API": ", ".join(found["overrides"]),
        "waits": found["waits"],
        "parked requests": found["parked"] or "",
        "learned": ", ".join([*_learned(learned), *from_tier]),
        "last failure": failure and f"{failure['error']} (for {failure['retry_after_s']:.0f} s)",
        "quarantine": quarantine
        and f"{state}, {quarantine['crashes']} crashes{_on(quarantine.get('workers'))}"
        + _served_by(quarantine.get("served_by")),
        "failed on": ", ".join(f"{f['worker']} ({f['error']})" for f in found.get("failed_on", ())),
        "sessions": ", ".join(found["sessions"]),
        "served unbatched": found.get("unbatched"),
        "not warmed up": found.get("unwarmed"),
        "not deterministic": found.get("unsteady"),
        "cannot load it": ", ".join(found["incompatible"]),
    }
    return [f"{name}: {text}" for name, text in lines.items() if text]


def _on(workers: dict[str, int] | None) -> str:
    """Which workers, and how often each; an older gateway does not say."""
    named = ", ".join(f"{worker} {count}" for worker, count in (workers or {}).items())
    return f" (on {named})" if named else ""


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(str(part) for part in value.values())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def run_workers(options: Namespace) -> int:
    """Print one row per worker."""
    with Client(options.url) as client:
        workers = client.workers(worker=options.worker, state=options.state)
    show(options, {"workers": workers}, WORKERS, [_worker(worker) for worker in workers])
    _say_unhealthy(options, workers)
    return 0


def _say_unhealthy(options: Namespace, workers: list[dict[str, Any]]) -> None:
    if not options.json:
        for line in unhealthy(workers):
            say(line)


def unhealthy(workers: list[dict[str, Any]]) -> list[str]:
    """A line for each worker that is not healthy, or on which calls of a model fail."""
    lines = []
    for worker in workers:
        if worker.get("health", HEALTHY) != HEALTHY:
            lines.append(f"{worker['id']} is {worker['health']}: {worker['health_reason']}")
        for ref in worker.get("failing", []):
            name, version, *_ = ref.split(":")
            lines.append(f"{worker['id']}: calls of {name} {version} fail one after another")
    return lines


def _worker(worker: dict[str, Any]) -> list[str]:
    """A row of the table."""
    models, health = str(len(worker["models"])), worker.get("health", HEALTHY)
    if worker.get("max_models"):
        models += f"/{worker['max_models']}"
    return [
        worker["id"],
        worker["device"],
        worker["state"] + (f", {health}" if health != HEALTHY else ""),
        mib(worker["used_bytes"]),
        mib(worker["budget_bytes"]),
        models,
        str(worker["queue"]),
        f"{100 * worker.get('busy', 0):.0f} %",
        f"{worker.get('service_ms', 0):.1f} ms",
        mib(worker.get("host_used_bytes", 0)),
        mib(worker.get("host_budget_bytes", 0)),
    ]
