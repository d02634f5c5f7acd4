"""One model gets all traffic, more than one worker can do: a second copy must come, and go again.

The reference is the same model on one worker alone, with the same load.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from deploy.bench.errors import BenchError
from deploy.bench.inputs import sentence
from deploy.bench.load import Load, steady, volley
from deploy.bench.posts import Tensors, binary_post, check_close, outputs_of
from deploy.bench.results import Figure, Target, compare
from deploy.bench.watch import Seen, watched
from deploy.bench.workbench import Case, Workbench
from deploy.local.cluster import Cluster
from deploy.samples.models import minilm

NAME = "hot"
MODEL = minilm.SAMPLE.name
TOKENS = 64  # an inference takes 10 to 20 ms of a core, and batches save little of it
CONNECTIONS = 64  # the wait must exceed what a load takes, here and there
QUIET_EVERY_S = 0.5
WAIT_S = 2.0  # of load at a time, until the second copy is there
TARGET = Target(of="ratio", at_least=1.5)


@dataclass(frozen=True)
class Size:
    """How long to wait for the second copy to come, and to go. Seconds."""

    comes_within_s: float = 20.0
    goes_within_s: float = 90.0


def run(bench: Workbench, size: Size = Size()) -> Figure:
    """Requests/s with two workers once the second copy is there, beside those of one worker."""
    folder = bench.scratch(NAME)
    post = binary_post(MODEL, sentence(MODEL, TOKENS))
    came: list[float] = []
    for name in ("one", "two"):
        (folder / name).mkdir()
    with (
        bench.store(bench.samples([MODEL])) as store,
        store.cluster(folder / "one") as one,
        store.cluster(folder / "two", workers=2) as two,
    ):
        expected = outputs_of(volley(one.port, [post]).kept[0])
        check_close(volley(two.port, [post]).kept[0], expected)

        def ours() -> float:
            came.append(_until_copied(two, post, expected, size))
            return _load(two, post, expected, bench.seconds).per_second

        pairs = bench.alternate(
            ours, lambda: _load(one, post, expected, bench.seconds).per_second, "requests/s"
        )
        went = _until_single(two, post, expected, size)
    figure = compare(
        f"one MiniLM gets all traffic, {TOKENS} tokens, {CONNECTIONS} connections: 2 workers, once "
        "the second copy is there",
        "requests/s",
        pairs,
        reference_is="the same with one worker",
        target=TARGET,
        notes={
            "the second copy came after, s": max(came),
            "traffic fell: it went after, s": f"{went:.1f}" if went >= 0 else "it did not go",
            "waited for that, s": size.goes_within_s,
        },
    )
    figure.reached = bool(figure.reached) and went >= 0
    return figure


def _load(cluster: Cluster, post: bytes, expected: Tensors, seconds: float) -> Load:
    load = steady(
        cluster.port, [post], lambda: 0, connections=CONNECTIONS, seconds=seconds, keep_every=10
    )
    for answer in load.kept:
        check_close(answer, expected)
    return load


def _until_copied(cluster: Cluster, post: bytes, expected: Tensors, size: Size) -> float:
    """Load it until there are two copies; the seconds that took. BenchError if there never are."""
    with watched(cluster.port) as seen:
        return _seconds_until(
            lambda: seen.now[MODEL] >= 2,
            lambda: _load(cluster, post, expected, WAIT_S),
            size.comes_within_s,
            f"no second copy within {size.comes_within_s:g} s",
        )


def _until_single(cluster: Cluster, post: bytes, expected: Tensors, size: Size) -> float:
    """Ask now and then until there is one copy; the seconds that took, -1 if it does not happen."""

    def ask() -> None:
        check_close(volley(cluster.port, [post]).kept[0], expected)
        time.sleep(QUIET_EVERY_S)

    with watched(cluster.port) as seen:
        try:
            return _seconds_until(
                lambda: _single(seen), ask, size.goes_within_s, "the second copy did not go"
            )
        except BenchError:
            return -1.0


def _single(seen: Seen) -> bool:
    return seen.looks > 0 and seen.now[MODEL] == 1


def _seconds_until(
    true: Callable[[], bool], meanwhile: Callable[[], object], within_s: float, otherwise: str
) -> float:
    begun = time.perf_counter()
    while not true():
        if time.perf_counter() - begun > within_s:
            raise BenchError(otherwise)
        meanwhile()
    return time.perf_counter() - begun


CASE = Case(NAME, run)
