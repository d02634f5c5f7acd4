"""Many warm models at once: how much of what plain torch can do in one thread is left."""

from __future__ import annotations

import random

from deploy.bench.cases.variants import NAMES, ask, plain_models, post_of
from deploy.bench.inputs import TOKENS
from deploy.bench.load import steady
from deploy.bench.posts import check_close
from deploy.bench.results import Figure, Target, compare
from deploy.bench.workbench import Case, Workbench

NAME = "warm_variants"
AT_A_TIME = 16
TARGET = Target(of="ratio", at_least=0.9)


def run(bench: Workbench) -> Figure:
    """Requests/s to variants chosen at random, beside calls/s of the same models in a loop."""
    folder = bench.scratch(NAME)
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
        target=TARGET,
    )


CASE = Case(NAME, run)
