"""How much of an aiohttp server's request rate is left when a request really travels."""

from __future__ import annotations

from deploy.bench.cases.tiny_mlp import tiny_mlp
from deploy.bench.results import Figure, Target, compare
from deploy.bench.workbench import Case, Workbench

NAME = "mlp_json_64"
CONNECTIONS = 64
TARGET = Target(of="ratio", at_least=0.5)


def run(bench: Workbench) -> Figure:
    """Requests/s through gateway, Redis and worker beside those of the echo."""
    latencies: list[float] = []

    def ours() -> float:
        load = running.ours(CONNECTIONS)
        latencies.append(load.latency_ms(0.99))
        return load.per_second

    with tiny_mlp(bench, NAME) as running:
        pairs = bench.alternate(ours, lambda: running.echo(CONNECTIONS).per_second, "requests/s")
    return compare(
        f"tiny MLP, V2 JSON, {CONNECTIONS} connections, 1 gateway, 1 worker",
        "requests/s",
        pairs,
        reference_is="a bare aiohttp server on uvloop that echoes the same body",
        target=TARGET,
        notes={"p99 of ours, ms (worst round)": max(latencies)},
    )


CASE = Case(NAME, run)
