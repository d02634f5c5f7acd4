"""A warm model on a worker that loads others beside it, large ones, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from deploy.bench.cases.cold import empty
from deploy.bench.load import steady, volley
from deploy.bench.measure import BenchError
from deploy.bench.models import Crowd, mlps, settings
from deploy.bench.posts import Tensors, binary_post, check_close, outputs_of, sentence
from deploy.bench.results import Figure, Note, Target, compare
from deploy.bench.workbench import Case, Store, Workbench
from deploy.local.cluster import Cluster
from deploy.samples.models import minilm
from deploy.samples.store import BuiltSample

NAME = "interference"
MODEL = minilm.SAMPLE.name
CONNECTIONS = 2
LEAST_S = 5.0  # a 99th percentile needs some hundred answers
TARGET = Target(of="ratio", at_most=1.5)


@dataclass(frozen=True)
class Size:
    """The size of what is loaded, and for how long at least the warm model is asked."""

    megabytes: int = 200
    least_s: float = LEAST_S


@dataclass
class Scene:
    """A worker that holds the warm model, and the large ones."""

    cluster: Cluster
    large: Crowd
    post: bytes
    expected: Tensors
    seconds: float
    cache: Path
    from_store: bool  # whether the disk cache is emptied before each load
    loads: int = 0

    def p99_ms(self) -> float:
        """Of the warm model; BenchError if an answer is wrong."""
        load = steady(
            self.cluster.port, [self.post], lambda: 0, connections=CONNECTIONS,
            seconds=self.seconds, keep_every=10,
        )  # fmt: skip
        for answer in load.kept:
            check_close(answer, self.expected)
        return load.latency_ms(0.99)

    def p99_beside_ms(self, *, answers: bool = False) -> float:
        """The same while the large ones are loaded and unloaded, and `answers`: asked once."""
        with self._loading(answers=answers):
            return self.p99_ms()

    @contextmanager
    def _loading(self, *, answers: bool) -> Iterator[None]:
        ended = threading.Event()
        errors: list[Exception] = []

        def load_again_and_again() -> None:
            try:
                for at in cycle(range(len(self.large.names))):
                    if ended.is_set():
                        return
                    self.load_once(at, answers=answers)
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=load_again_and_again, name="loads")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        if errors:
            raise BenchError(f"the loads beside: {errors[0]}")

    def load_once(self, at: int, *, answers: bool) -> None:
        """Load, perhaps ask, and unload a large model."""
        name = self.large.names[at]
        if self.from_store:
            empty(self.cache)
        client = self.cluster.client()
        client.load(name)
        self.loads += 1
        if answers:
            client.infer(name, self.large.samples[at].sample_request())
        client.unload(name)


def run(bench: Workbench, size: Size = Size()) -> Figure:
    """p99 of the warm model beside loads, over its p99 alone; ms."""
    folder = bench.scratch(NAME)
    large = mlps(bench, 2, size.megabytes)
    warm = bench.samples([MODEL])
    seconds = max(bench.seconds, size.least_s)
    with bench.store([*warm, *large.samples]) as store:
        with _scene(store, folder / "disk", warm[0], large, seconds) as scene:
            pairs = bench.alternate(scene.p99_beside_ms, scene.p99_ms, "ms")
            from_disk = scene.loads
            notes: dict[str, Note] = {
                "loads beside the warm model, each second": from_disk / (seconds * bench.rounds),
                **_more("loads from disk and one answer each", scene, answers=True),
            }
            scene.from_store = True
            notes |= _more("loads from S3 on this machine", scene)
    return compare(
        f"p99 of a warm MiniLM, {CONNECTIONS} connections, while its worker loads and unloads "
        f"models of {size.megabytes} MB from disk without a pause",
        "ms",
        pairs,
        reference_is="the same without loads",
        target=TARGET,
        notes=notes,
    )


@contextmanager
def _scene(
    store: Store, folder: Path, warm: BuiltSample, large: Crowd, seconds: float
) -> Iterator[Scene]:
    folder.mkdir()
    budget = warm.total_bytes + round(1.5 * large.samples[0].total_bytes)
    post = binary_post(MODEL, sentence(MODEL))
    with store.cluster(folder, settings(budget, folder / "cache")) as cluster:
        expected = outputs_of(volley(cluster.port, [post]).kept[0])
        scene = Scene(cluster, large, post, expected, seconds, folder / "cache", from_store=False)
        for at in range(len(large.names)):  # their program is loaded, their files are there
            scene.load_once(at, answers=True)
        scene.loads = 0
        yield scene


def _more(what: str, scene: Scene, *, answers: bool = False) -> dict[str, Note]:
    """One further pair, as notes."""
    alone, before = scene.p99_ms(), scene.loads
    beside = scene.p99_beside_ms(answers=answers)
    return {
        f"{what}: ratio": beside / alone,
        f"{what}: p99 beside and alone, ms": f"{beside:.1f} and {alone:.1f}",
        f"{what}: each second": (scene.loads - before) / scene.seconds,
    }


CASE = Case(NAME, run)
