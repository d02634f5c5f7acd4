"""Warm requests over HTTP, beside a bare echo that gets the same posts.

mlp_json_64   how much of an aiohttp server's request rate is left when a request really travels
mlp_json_1    one connection: what the way through Redis and a worker adds to a request
binary_1mib   1 MiB in and the same 1 MiB out, so every copy on the way shows twice
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count

from deploy.bench.load import Load, steady, volley
from deploy.bench.posts import Tensors, binary_post, check_close, check_echo, json_post, noise
from deploy.bench.references import Echo, running_echo
from deploy.bench.results import Figure, Target, compare
from deploy.bench.workbench import Case, Workbench
from deploy.local.cluster import Cluster

MLP, IDENTITY = "tiny-mlp", "identity-fp32"
CONNECTIONS, BINARY_CONNECTIONS = 64, 8
NUMBERS = (1 << 20) // 4  # one row of so many float32 is 1 MiB
DIFFERENT = 8  # tensors that differ, so that an answer that went astray is seen


@dataclass(frozen=True)
class BesideEcho:
    """A model that is warm in a running cluster, an echo beside it, and the posts for both."""

    cluster: Cluster
    echo_server: Echo
    posts: list[bytes]
    expected: Sequence[Tensors]
    seconds: float

    def ours(self, connections: int) -> Load:
        """Load on the gateway. BenchError if a kept answer is not the expected one."""
        load = self._load(self.cluster.port, connections)
        for answer in load.kept:
            check_close(answer, self.expected[answer.post])
        return load

    def echo(self, connections: int) -> Load:
        """The same load on the echo. BenchError if a kept answer is not what was sent."""
        load = self._load(self.echo_server.port, connections)
        for answer in load.kept:
            check_echo(answer, self.posts)
        return load

    def _load(self, port: int, connections: int) -> Load:
        choose = in_turn(len(self.posts))
        return steady(port, self.posts, choose, connections=connections, seconds=self.seconds)


def in_turn(posts: int) -> Callable[[], int]:
    """Chooses post 0, 1, 2 and so on, again and again."""
    numbers = count()
    return lambda: next(numbers) % posts


@contextmanager
def beside_echo(
    bench: Workbench, name: str, model: str, posts: list[bytes], expected: Sequence[Tensors]
) -> Iterator[BesideEcho]:
    """Run both, with `model` loaded by one request."""
    folder = bench.scratch(name)
    with ExitStack() as running:
        store = running.enter_context(bench.store(bench.samples([model])))
        cluster = running.enter_context(store.cluster(folder))
        echo = running.enter_context(running_echo(folder))
        volley(cluster.port, posts[:1])
        yield BesideEcho(cluster, echo, posts, expected, bench.seconds)


@contextmanager
def tiny_mlp(bench: Workbench, name: str) -> Iterator[BesideEcho]:
    """The tiny MLP's request: one row of 16 numbers as V2 JSON; the answer is 16 numbers."""
    (built,) = bench.samples([MLP])
    posts = [json_post(MLP, built.sample_request())]
    with beside_echo(bench, name, MLP, posts, [built.known().answer]) as running:
        yield running


def mlp_json_64(bench: Workbench) -> Figure:
    """Requests/s through gateway, Redis and worker beside those of the echo."""
    return _tiny_mlp_figure(
        bench,
        "mlp_json_64",
        CONNECTIONS,
        lambda load: load.per_second,
        title=f"tiny MLP, V2 JSON, {CONNECTIONS} connections, 1 gateway, 1 worker",
        unit="requests/s",
        reference_is="a bare aiohttp server on uvloop that echoes the same body",
        target=Target(of="ratio", at_least=0.5),
    )


def mlp_json_1(bench: Workbench) -> Figure:
    """Median time of a request on one connection beside that of the echo, ms."""
    return _tiny_mlp_figure(
        bench,
        "mlp_json_1",
        1,
        Load.latency_ms,
        title="tiny MLP, V2 JSON, one connection: p50 of a request",
        unit="ms",
        reference_is="p50 of a bare aiohttp server on uvloop that echoes the same body",
        target=Target(of="difference", at_most=1.0),
    )


def _tiny_mlp_figure(
    bench: Workbench, name: str, connections: int, value: Callable[[Load], float], *, title: str,
    unit: str, reference_is: str, target: Target,
) -> Figure:  # fmt: skip
    p99_ms: list[float] = []

    def ours() -> float:
        load = running.ours(connections)
        p99_ms.append(load.latency_ms(0.99))
        return value(load)

    with tiny_mlp(bench, name) as running:
        pairs = bench.alternate(ours, lambda: value(running.echo(connections)), unit)
    notes = {"p99 of ours, ms (worst round)": max(p99_ms)}
    return compare(title, unit, pairs, reference_is=reference_is, target=target, notes=notes)


def binary_1mib(bench: Workbench) -> Figure:
    """Requests/s of the identity model beside those of the echo."""
    tensors = [noise(1, NUMBERS, seed) for seed in range(DIFFERENT)]
    posts = [binary_post(IDENTITY, {"input": tensor}) for tensor in tensors]
    expected = [{"output": tensor} for tensor in tensors]
    with beside_echo(bench, "binary_1mib", IDENTITY, posts, expected) as running:
        pairs = bench.alternate(
            lambda: running.ours(BINARY_CONNECTIONS).per_second,
            lambda: running.echo(BINARY_CONNECTIONS).per_second,
            "requests/s",
        )
    return compare(
        f"binary tensors of 1 MiB in and 1 MiB out, {BINARY_CONNECTIONS} connections",
        "requests/s",
        pairs,
        reference_is="a bare aiohttp server on uvloop that echoes the same body",
        target=Target(of="ratio", at_least=0.5),
    )


CASES = (
    Case("mlp_json_64", mlp_json_64),
    Case("mlp_json_1", mlp_json_1),
    Case("binary_1mib", binary_1mib),
)
