"""`warmroute events`: loads, evictions and refusals of model copies, with reasons."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

import msgspec

from deploy.cli.errors import WrongUse
from deploy.cli.options import count
from deploy.cli.output import Subparsers, mib, say, show
from shared.events import KINDS
from warmroute import Client, ClientError

COLUMNS = ["time", "kind", "model", "worker", "tiers", "bytes", "took", "reason"]


def add(subparsers: Subparsers, *, shared: ArgumentParser, gateway: ArgumentParser) -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "events",
        parents=[gateway],
        help="show loads, evictions and refusals, with reasons",
        epilog="--json prints a list, or with --follow one JSON document per line. A `gap` "
        "marks events that are no longer kept.",
    )
    parser.add_argument("--follow", action="store_true", help="continue until Ctrl-C")
    parser.add_argument("--model", metavar="NAME[:VERSION]", help="only of this model")
    parser.add_argument("--worker", help="only of this worker")
    parser.add_argument(
        "--kind", action="append", default=[], choices=KINDS, metavar="KIND",
        help=f"once per kind: {', '.join(KINDS)}",
    )  # fmt: skip
    parser.add_argument(
        "--since", help="an event's id, a time (2026-01-02T03:04:05Z), or 90s, 10m, 2h, 1d ago"
    )
    parser.add_argument("--limit", type=count, help="how many (default: the last 100)")
    parser.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Print them, oldest first."""
    if options.limit is not None and (options.limit < 1 or options.follow):
        raise WrongUse("--limit: from 1 on, and without --follow")
    with Client(options.url) as client:
        events = client.events(
            model=options.model, worker=options.worker, kinds=options.kind, since=options.since,
            limit=options.limit, follow=options.follow, retrying=_report_retry,
        )  # fmt: skip
        if not options.follow:
            listed = list(events)
            show(options, listed, COLUMNS, [cells(event) for event in listed])
            return 0
        for event in events:
            if options.json:
                print(msgspec.json.encode(event).decode(), flush=True)
            else:
                say(line(event))
    return 0


def _report_retry(error: ClientError) -> None:
    say(f"warmroute: {error}; retrying", error=True)


def cells(event: dict[str, Any]) -> list[str]:
    """A row of the table."""
    tiers = [event[name] for name in ("tier_from", "tier_to") if name in event]
    model = " ".join(event[name] for name in ("model", "version") if name in event)
    size = mib(event["bytes"]) if "bytes" in event else ""
    if "bytes_regained" in event:
        size += f" (regained {mib(event['bytes_regained'])})"
    return [
        event.get("time", ""),
        event["kind"],
        model,
        event.get("worker", ""),
        " > ".join(tiers),
        size.strip(),
        f"{event['seconds']:.3g} s" if "seconds" in event else "",
        event.get("reason", ""),
    ]


def line(event: dict[str, Any]) -> str:
    """An event as one line, for --follow."""
    time, kind, model, *rest = cells(event)
    said = [word for word in rest if word]
    return "  ".join([time, f"{kind:<15}", model, *said]).rstrip()
