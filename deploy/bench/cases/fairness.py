"""A model that is asked little, on a worker whose other model is flooded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.bench.load import steady, volley
from deploy.bench.measure import BenchError
from deploy.bench.models import settings
from deploy.bench.posts import binary_post, sentence
from deploy.bench.results import Figure, Target, compare
from deploy.bench.workbench import Case, Workbench
from deploy.samples.models import minilm

NAME = "fairness"
FLOODED, ASKED = minilm.SAMPLE.name, "tiny-mlp"
FLOOD, CONNECTIONS = 100, 2  # connections: fifty times as many ask for the flooded model
BATCH = minilm.BATCHING.max_size
TARGET = Target(of="ratio", at_most=1.0)


@dataclass
class Scene:
    """Where to ask, and what. An answer that is not 200, a 429 too, ends the case."""

    port: int
    flood: bytes
    post: bytes
    seconds: float

    def p99_ms(self) -> float:
        """Of the model that is asked little."""
        load = steady(
            self.port, [self.post], lambda: 0, connections=CONNECTIONS, seconds=self.seconds
        )
        return load.latency_ms(0.99)

    def p99_beside_ms(self) -> float:
        """The same beside the flood."""
        with self._flooded():
            return self.p99_ms()

    def bound_ms(self) -> float:
        """What it may be: half as much again as alone, and one batch of the flooded model."""
        return 1.5 * self.p99_ms() + self.batch_ms()

    def batch_ms(self) -> float:
        """One batch of the flooded model, from the first request to the last answer."""
        return min(volley(self.port, [self.flood] * BATCH).seconds for _ in range(3)) * 1000

    @contextmanager
    def _flooded(self) -> Iterator[None]:
        errors: list[Exception] = []

        def ask() -> None:
            try:
                steady(
                    self.port, [self.flood], lambda: 0, connections=FLOOD,
                    seconds=1.3 * self.seconds,
                )  # fmt: skip
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=ask, name="flood")
        thread.start()
        try:
            yield
        finally:
            thread.join()
        if errors:
            raise BenchError(f"the flood: {errors[0]}")


def run(bench: Workbench) -> Figure:
    """p99 of a model beside a flood of another one, over what it may be; ms."""
    folder = bench.scratch(NAME)
    samples = bench.samples([FLOODED, ASKED])
    budget = 4 * sum(sample.total_bytes for sample in samples)
    with (
        bench.store(samples) as store,
        store.cluster(folder, settings(budget, folder / "cache")) as cluster,
    ):
        post = binary_post(ASKED, samples[1].sample_request())
        scene = Scene(cluster.port, binary_post(FLOODED, sentence(FLOODED)), post, bench.seconds)
        volley(cluster.port, [scene.flood, scene.post])  # both are loaded
        pairs = bench.alternate(scene.p99_beside_ms, scene.bound_ms, "ms")
        alone = scene.p99_ms()
        notes = {
            "p99 beside the flood and alone, ratio": scene.p99_beside_ms() / alone,
            "p99 alone, ms": alone,
            "one batch of the flooded model, ms": scene.batch_ms(),
        }
    return compare(
        f"p99 of a warm MLP, {CONNECTIONS} connections, while {FLOOD} connections ask the same "
        "worker for MiniLM; each request answered",
        "ms",
        pairs,
        reference_is="1.5 times its p99 alone and one batch of MiniLM",
        target=TARGET,
        notes=notes,
    )


CASE = Case(NAME, run)
