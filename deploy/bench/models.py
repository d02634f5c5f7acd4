"""The models that the cases ask: MiniLM variants, and models by the hundred.

Each is asked one request, and its answer is compared with what plain torch answers to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.bench.connection import Answer
from deploy.bench.load import Load, volley
from deploy.bench.measure import BenchError, percentile
from deploy.bench.plain import Plain, running_plain
from deploy.bench.posts import Tensors, binary_post, check_close, sentence
from deploy.bench.workbench import Workbench
from deploy.local.cluster import Cluster
from deploy.local.folders import SAMPLES, WHEELS
from deploy.samples.catalogue import VARIANTS
from deploy.samples.models import crowd, minilm
from deploy.samples.store import BuiltSample

BASE = minilm.SAMPLE.name
NAMES = [sample.name for sample in VARIANTS]
WARM_ASKS = 15


def plain_models(
    bench: Workbench, names: Sequence[str], folder: Path
) -> AbstractContextManager[Plain]:
    """The variants in plain torch, in a process of their own."""
    bench.console.print("  loading the models in plain torch", highlight=False)
    return running_plain(names, SAMPLES, WHEELS, folder)


def expected_answers(bench: Workbench, names: Sequence[str], folder: Path) -> dict[str, Tensors]:
    """What plain torch answers to the sentence of each variant."""
    with plain_models(bench, names, folder) as plain:
        return {name: plain.answer(name) for name in names}


def post_of(name: str) -> bytes:
    """The infer request with the sentence of a variant."""
    return binary_post(name, sentence(name))


def ask(cluster: Cluster, name: str, expected: Tensors, *, times: int = 1) -> Load:
    """Send the sentence of a variant `times` at once; BenchError unless every answer is right."""
    load = volley(cluster.port, [post_of(name)] * times)
    for answer in load.kept:
        check_close(answer, expected)
    return load


def cold_ms(cluster: Cluster, name: str, expected: Tensors) -> float:
    """The time of a request that has to wait for its model; BenchError if it had not to."""
    load = ask(cluster, name, expected)
    if not was_cold(load):
        raise BenchError(f"{name} was warm already")
    return load.latency_ms()


def warm_ms(cluster: Cluster, name: str, expected: Tensors) -> float:
    """The median time of a request to a warm variant: its own inference, and the way there."""
    loads = [ask(cluster, name, expected) for _ in range(WARM_ASKS)]
    if any(was_cold(load) for load in loads):
        raise BenchError(f"{name} was not warm")
    return percentile([load.latency_ms() for load in loads], 0.5)


def was_cold(load: Load) -> bool:
    """Whether the gateway says of any answer that its request waited for a load."""
    return any(b"Warmroute-Cold: true" in answer.head for answer in load.kept)


def per_round(names: Sequence[str], rounds: int, at_most: int) -> list[Sequence[str]]:
    """Names for each round, no name twice; BenchError if there are too few."""
    each = min(at_most, len(names) // rounds)
    if each < 1:
        raise BenchError(f"{rounds} rounds: there are only {len(names)} models to load")
    return [names[at * each : (at + 1) * each] for at in range(rounds)]


@dataclass(frozen=True)
class Crowd:
    """Models of one kind: what is sent to each, and what plain torch answered to that."""

    samples: Sequence[BuiltSample]
    posts: list[bytes]
    expected: Sequence[Tensors]

    @property
    def names(self) -> list[str]:
        """Of the models, in order."""
        return [sample.name for sample in self.samples]

    def check(self, answers: Sequence[Answer]) -> None:
        """BenchError unless each is the right one."""
        for answer in answers:
            check_close(answer, self.expected[answer.post])

    def ask(self, cluster: Cluster, at: int) -> Load:
        """Ask model number `at` once; BenchError if the answer is wrong."""
        load = volley(cluster.port, [self.posts[at]])
        for answer in load.kept:
            check_close(answer, self.expected[at])
        return load


def mlps(bench: Workbench, count: int, megabytes: int, *, rows: int = 1) -> Crowd:
    """So many networks of that size, each asked with so many rows, all alike. Plain torch answered
    when they were made."""
    samples = bench.made([crowd.mlp(number, megabytes) for number in range(count)])
    posts = [binary_post(one.name, _repeated(one.sample_request(), rows)) for one in samples]
    return Crowd(samples, posts, [_repeated(one.known().answer, rows) for one in samples])


def _repeated(tensors: Tensors, rows: int) -> Tensors:
    return {name: np.repeat(array, rows, 0) for name, array in tensors.items()}


def budget_for(samples: Sequence[BuiltSample], count: int) -> int:
    """A budget for `count` models that share no weights, and not for one more."""
    size = max(sample.total_bytes for sample in samples)
    return count * size + size // 2


def settings(budget: int, cache: Path, **more: str) -> Mapping[str, str]:
    """A worker's budget, and the disk cache that the clusters of one case share."""
    return {"WARMROUTE_MEMORY_BYTES": str(budget), "WARMROUTE_DISK_CACHE": str(cache), **more}
