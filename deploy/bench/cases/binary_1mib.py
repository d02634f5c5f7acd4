"""Large tensors: 1 MiB in and the same 1 MiB out, so every copy on the way shows twice."""

from __future__ import annotations

from deploy.bench.cases.beside_echo import beside_echo
from deploy.bench.inputs import noise
from deploy.bench.posts import binary_post
from deploy.bench.results import Figure, Target, compare
from deploy.bench.workbench import Case, Workbench

NAME = "binary_1mib"
MODEL = "identity-fp32"
CONNECTIONS = 8
NUMBERS = (1 << 20) // 4  # one row of so many float32 is 1 MiB
DIFFERENT = 8  # tensors that differ, so that an answer that went astray is seen
TARGET = Target(of="ratio", at_least=0.5)


def run(bench: Workbench) -> Figure:
    """Requests/s of the identity model beside those of the echo."""
    tensors = [noise(1, NUMBERS, seed) for seed in range(DIFFERENT)]
    posts = [binary_post(MODEL, {"input": tensor}) for tensor in tensors]
    expected = [{"output": tensor} for tensor in tensors]
    with beside_echo(bench, NAME, MODEL, posts, expected) as running:
        pairs = bench.alternate(
            lambda: running.ours(CONNECTIONS).per_second,
            lambda: running.echo(CONNECTIONS).per_second,
            "requests/s",
        )
    return compare(
        f"binary tensors of 1 MiB in and 1 MiB out, {CONNECTIONS} connections",
        "requests/s",
        pairs,
        reference_is="a bare aiohttp server on uvloop that echoes the same body",
        target=TARGET,
    )


CASE = Case(NAME, run)
