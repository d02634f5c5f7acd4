"""A cold model whose program is loaded and whose bytes are on this disk: what being cold costs.

Each variant is cold once: a worker that has not seen it finds its files in a cache that another
worker filled. The page cache holds them too. Nothing needs to be evicted first; what that adds is
noted, from a worker whose budget holds one variant only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy.bench.cases.variants import (
    BASE,
    NAMES,
    ask,
    cold_ms,
    expected_answers,
    per_round,
    warm_ms,
)
from deploy.bench.measure import Pair, spread
from deploy.bench.posts import Tensors
from deploy.bench.results import Figure, Target, compare
from deploy.bench.workbench import Case, Store, Workbench

NAME = "cold_disk"
ADDED_MS = 30.0
MOST_PER_ROUND = 4
TARGET = Target(of="difference", at_most=ADDED_MS)


def run(bench: Workbench) -> Figure:
    """Time to the first answer, beside the time of a warm answer of the same variant; ms."""
    folder = bench.scratch(NAME)
    rounds = per_round(NAMES, bench.rounds, MOST_PER_ROUND)
    names = [name for group in rounds for name in group]
    samples = bench.samples([BASE, *names])
    expected = expected_answers(bench, [BASE, *names], folder)
    size = max(sample.total_bytes for sample in samples)
    with bench.store(samples) as store:
        evicting = _fill_cache(store, folder, size, names, expected)
        with store.cluster(folder) as cluster:
            ask(cluster, BASE, expected[BASE])
            pairs = []
            for at, group in enumerate(rounds):
                cold = [cold_ms(cluster, name, expected[name]) for name in group]
                warm = [warm_ms(cluster, name, expected[name]) for name in group]
                pairs.append(Pair(spread(cold).median, spread(warm).median))
                bench.tell(at, pairs[-1], "ms")
    return compare(
        f"first answer of a {size / 1e6:.0f} MB variant, its program loaded, its bytes on disk",
        "ms",
        pairs,
        reference_is="a warm answer of the same variant, by the same way",
        target=TARGET,
        notes={"first answer if another variant must be evicted for it, ms": evicting},
    )


def _fill_cache(
    store: Store, folder: Path, size: int, names: list[str], expected: Mapping[str, Tensors]
) -> float:
    """Have all variants on the disk, by a worker that holds one at a time; the median time of a
    first answer once that is so, ms."""
    with store.cluster(folder, {"WARMROUTE_MEMORY_BYTES": str(round(size * 1.2))}) as cluster:
        for name in (BASE, *names):
            ask(cluster, name, expected[name])
        times = [cold_ms(cluster, name, expected[name]) for name in names]
    (folder / "redis").rename(folder / "redis-of-the-first")
    return spread(times).median


CASE = Case(NAME, run)
