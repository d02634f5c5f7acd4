"""What the way through Redis and a worker adds to the time of one lone request."""

from __future__ import annotations

from deploy.bench.cases.tiny_mlp import tiny_mlp
from deploy.bench.results import Figure, Target, compare
from deploy.bench.workbench import Case, Workbench

NAME = "mlp_json_1"
TARGET = Target(of="difference", at_most=1.0)


def run(bench: Workbench) -> Figure:
    """Median time of a request on one connection beside that of the echo, ms."""
    latencies: list[float] = []

    def ours() -> float:
        load = running.ours(1)
        latencies.append(load.latency_ms(0.99))
        return load.latency_ms()

    with tiny_mlp(bench, NAME) as running:
        pairs = bench.alternate(ours, lambda: running.echo(1).latency_ms(), "ms")
    return compare(
        "tiny MLP, V2 JSON, one connection: p50 of a request",
        "ms",
        pairs,
        reference_is="p50 of a bare aiohttp server on uvloop that echoes the same body",
        target=TARGET,
        notes={"p99 of ours, ms (worst round)": max(latencies)},
    )


CASE = Case(NAME, run)
