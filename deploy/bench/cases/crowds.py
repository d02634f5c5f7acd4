"""Models by the hundred as the cases ask them: a request each, and what it must answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy.bench.connection import Answer
from deploy.bench.load import Load, volley
from deploy.bench.posts import Tensors, binary_post, check_close
from deploy.bench.workbench import Workbench
from deploy.local.cluster import Cluster
from deploy.samples.models import crowd
from deploy.samples.store import BuiltSample


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


def room_for(samples: Sequence[BuiltSample], count: int) -> int:
    """A budget for `count` models that share no weights, and not for one more."""
    size = max(sample.total_bytes for sample in samples)
    return count * size + size // 2


def settings(budget: int, cache: Path, **more: str) -> Mapping[str, str]:
    """A worker's budget, and the disk cache that the cells of one case have in common."""
    return {"WARMROUTE_MEMORY_BYTES": str(budget), "WARMROUTE_DISK_CACHE": str(cache), **more}
