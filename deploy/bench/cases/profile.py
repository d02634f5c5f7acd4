"""Where the microseconds of a warm request go: processor time by process, and by script in Redis.

No target. The load is that of `mlp_json_64`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from rich import box
from rich.table import Table

from deploy.bench.cases.http import CONNECTIONS, tiny_mlp
from deploy.bench.load import Load
from deploy.bench.measure import spread
from deploy.bench.observer import processes
from deploy.bench.probes import Calls, logged_calls, measured
from deploy.bench.results import Figure, Note, compare
from deploy.bench.workbench import Case, Workbench

NAME = "profile"
GENERATOR, ECHO = "load generator", "echo"

Costs = dict[str, float]


def run(bench: Workbench) -> Figure:
    """Microseconds of processor time per request of gateway, Redis and worker together, beside
    those of the echo."""
    ours: list[Costs] = []
    echo: list[Costs] = []
    with tiny_mlp(bench, NAME) as running:
        cluster, generator = running.cluster, {GENERATOR: os.getpid()}
        with_echo = {ECHO: running.echo_server.child.pid, **generator}

        def costs(into: list[Costs], by_name: dict[str, int], load: Callable[[], Load]) -> float:
            into.append(_costs(by_name, load))
            return sum(us for name, us in into[-1].items() if not name.startswith(GENERATOR))

        pairs = bench.alternate(
            lambda: costs(ours, processes(cluster) | generator, lambda: running.ours(CONNECTIONS)),
            lambda: costs(echo, with_echo, lambda: running.echo(CONNECTIONS)),
            "us/request",
        )
        with logged_calls(cluster.redis) as calls:
            logged = running.ours(CONNECTIONS)
    medians = _medians(ours) | {
        f"{name}, beside the echo": us for name, us in _medians(echo).items()
    }
    bench.console.print(_process_table(medians), _script_table(calls, logged))
    return compare(
        f"processor time per warm request, tiny MLP, V2 JSON, {CONNECTIONS} connections",
        "us/request",
        pairs,
        reference_is="a bare aiohttp server on uvloop that echoes the same body",
        notes={**_process_notes(medians), **_script_notes(calls, logged)},
    )


def _costs(by_name: dict[str, int], load: Callable[[], Load]) -> Costs:
    """Microseconds per request by process, over one load."""
    with measured(by_name) as spent:
        answers = load().all_answers
    return {name: seconds / answers * 1e6 for name, seconds in spent.items()}


def _medians(rounds: list[Costs]) -> Costs:
    names = dict.fromkeys(name for each in rounds for name in each)
    return {name: spread([each.get(name, 0.0) for each in rounds]).median for name in names}


def _process_table(by_process: dict[str, float]) -> Table:
    table = Table("process (its main thread)", "processor us/request", box=box.SIMPLE_HEAD)
    for name, micros in by_process.items():
        table.add_row(name, f"{micros:.1f}")
    return table


def _script_table(calls: dict[str, Calls], load: Load) -> Table:
    table = Table("Redis ran", "us/request", "calls/request", "us/call", box=box.SIMPLE_HEAD)
    table.caption = "commands inside a script may count there and by themselves"
    for name, each in _by_cost(calls):
        table.add_row(
            name,
            f"{each.usec / load.all_answers:.1f}",
            f"{each.calls / load.all_answers:.3f}",
            f"{each.usec / each.calls:.1f}",
        )
    return table


def _process_notes(by_process: dict[str, float]) -> dict[str, Note]:
    return {f"{name}, us/request": round(micros, 1) for name, micros in by_process.items()}


def _script_notes(calls: dict[str, Calls], load: Load) -> dict[str, Note]:
    return {
        f"in Redis, {name}, us/request": round(each.usec / load.all_answers, 1)
        for name, each in _by_cost(calls)
    }


def _by_cost(calls: dict[str, Calls]) -> list[tuple[str, Calls]]:
    """What took a tenth of a percent of all or more, the dearest first."""
    total = sum(each.usec for each in calls.values())
    dear = [(name, each) for name, each in calls.items() if each.usec > total / 1000]
    return sorted(dear, key=lambda row: -row[1].usec)


CASE = Case(NAME, run)
