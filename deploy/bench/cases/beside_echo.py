"""The same posts to our gateway and to a bare echo: what the three HTTP cases share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count

from deploy.bench.load import Load, steady, volley
from deploy.bench.posts import Tensors, check_close, check_echo
from deploy.bench.servers import Echo, running_echo
from deploy.bench.workbench import Workbench
from deploy.local.cluster import Cluster


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
        return steady(
            port, self.posts, in_turn(len(self.posts)), connections=connections,
            seconds=self.seconds,
        )  # fmt: skip


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
