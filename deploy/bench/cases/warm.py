"""Warm models under load.

warm_variants   many at once: how much of what plain torch can do in one thread is left
hot             one model gets all traffic, more than one worker can do: a second copy must
                come, and go again
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from deploy.bench.load import Load, steady, volley
from deploy.bench.measure import BenchError
from deploy.bench.models import NAMES, ask, plain_models, post_of
from deploy.bench.observer import Observed, observing
from deploy.bench.posts import TOKENS, Tensors, binary_post, check_close, outputs_of, sentence
from deploy.bench.results import Figure, Target, compare
from deploy.bench.workbench import Case, Workbench
from deploy.local.cluster import Cluster
from deploy.samples.models import minilm

AT_A_TIME = 16
MODEL = minilm.SAMPLE.name
HOT_TOKENS = 64  # an inference takes 10 to 20 ms of a core, and batches save little of it
HOT_CONNECTIONS = 64  # the wait must exceed what a load takes, here and there
QUIET_EVERY_S = 0.5
WAIT_S = 2.0  # of load at a time, until the second copy is there


def warm_variants(bench: Workbench) -> Figure:
    """Requests/s to variants chosen at random, beside calls/s of the same models in a loop."""
    folder = bench.scratch("warm_variants")
    posts = [post_of(name) for name in NAMES]
    choose = random.Random(0)
    with (
        bench.store(bench.samples(NAMES)) as store,
        store.cluster(folder) as cluster,
        plain_models(bench, NAMES, folder) as plain,
    ):
        expected = [plain.answer(name) for name in NAMES]
        for name, answer in zip(NAMES, expected, strict=True):
            ask(cluster, name, answer)

        def ours() -> float:
            load = steady(
                cluster.port, posts, lambda: choose.randrange(len(posts)),
                connections=AT_A_TIME, seconds=bench.seconds, keep_every=10,
            )  # fmt: skip
            for answer in load.kept:
                check_close(answer, expected[answer.post])
            return load.per_second

        pairs = bench.alternate(ours, lambda: plain.calls_per_second(bench.seconds), "requests/s")
    return compare(
        f"{len(NAMES)} warm MiniLM variants, uniform, {AT_A_TIME} at a time, 1 worker, "
        f"{TOKENS} tokens, binary tensors",
        "requests/s",
        pairs,
        reference_is="the same models called in a plain loop, plain torch, one thread",
        target=Target(of="ratio", at_least=0.9),
    )


@dataclass(frozen=True)
class Size:
    """How long to wait for the second copy to come, and to go. Seconds."""

    comes_within_s: float = 20.0
    goes_within_s: float = 90.0


def hot(bench: Workbench, size: Size = Size()) -> Figure:
    """Requests/s with two workers once the second copy is there, beside those of one worker."""
    folder = bench.scratch("hot")
    post = binary_post(MODEL, sentence(MODEL, HOT_TOKENS))
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
        f"one MiniLM gets all traffic, {HOT_TOKENS} tokens, {HOT_CONNECTIONS} connections: 2 "
        "workers, once the second copy is there",
        "requests/s",
        pairs,
        reference_is="the same with one worker",
        target=Target(of="ratio", at_least=1.5),
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
        cluster.port, [post], lambda: 0, connections=HOT_CONNECTIONS, seconds=seconds, keep_every=10
    )
    for answer in load.kept:
        check_close(answer, expected)
    return load


def _until_copied(cluster: Cluster, post: bytes, expected: Tensors, size: Size) -> float:
    """Load it until there are two copies; the seconds that took. BenchError if there never are."""
    with observing(cluster.port) as seen:
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

    with observing(cluster.port) as seen:
        try:
            return _seconds_until(
                lambda: _single(seen), ask, size.goes_within_s, "the second copy did not go"
            )
        except BenchError:
            return -1.0


def _single(seen: Observed) -> bool:
    return seen.looks > 0 and seen.now[MODEL] == 1


def _seconds_until(
    true: Callable[[], bool], meanwhile: Callable[[], object], within_s: float, otherwise: str
) -> float:
    started = time.perf_counter()
    while not true():
        if time.perf_counter() - started > within_s:
            raise BenchError(otherwise)
        meanwhile()
    return time.perf_counter() - started


CASES = (Case("warm_variants", warm_variants), Case("hot", hot))
