"""Requests for a cold model, with its program loaded: what being cold costs.

cold_disk   its bytes are on this disk, in a cache that another worker filled, and in the page cache
cold_s3     its bytes are in S3 only: how near its first answer comes to a bare download

Each variant is cold once. Nothing needs to be evicted first; what that adds is noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy.bench.measure import Pair, spread
from deploy.bench.models import (
    BASE,
    NAMES,
    ask,
    cold_ms,
    expected_answers,
    per_round,
    warm_ms,
)
from deploy.bench.posts import Tensors
from deploy.bench.references import download_s
from deploy.bench.results import Figure, Target, compare
from deploy.bench.workbench import Case, Store, Workbench

ADDED_MS = 30.0
MOST_PER_ROUND = 4


def cold_disk(bench: Workbench) -> Figure:
    """Time to the first answer, beside the time of a warm answer of the same variant; ms."""
    folder = bench.scratch("cold_disk")
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
                bench.show_round(at, pairs[-1], "ms")
    return compare(
        f"first answer of a {size / 1e6:.0f} MB variant, its program loaded, its bytes on disk",
        "ms",
        pairs,
        reference_is="a warm answer of the same variant, by the same way",
        target=Target(of="difference", at_most=ADDED_MS),
        notes={"first answer if another variant must be evicted for it, ms": evicting},
    )


def _fill_cache(
    store: Store, folder: Path, size: int, names: list[str], expected: Mapping[str, Tensors]
) -> float:
    """Have all variants on the disk, by a worker that holds one at a time; the median time of a
    first answer from then on, ms."""
    with store.cluster(folder, {"WARMROUTE_MEMORY_BYTES": str(round(size * 1.2))}) as cluster:
        for name in (BASE, *names):
            ask(cluster, name, expected[name])
        times = [cold_ms(cluster, name, expected[name]) for name in names]
    (folder / "redis").rename(folder / "redis-of-the-first")
    return spread(times).median


def cold_s3(bench: Workbench) -> Figure:
    """Time to the first answer, beside that of a ranged download of the same bytes; ms. What a
    first answer from disk may take (30 ms and the inference) is allowed on top of the ratio."""
    folder = bench.scratch("cold_s3")
    names = [group[0] for group in per_round(NAMES, bench.rounds, 1)]
    samples = bench.samples([BASE, *names])
    expected = expected_answers(bench, [BASE, *names], folder)
    sizes = [sample.total_bytes for sample in samples]
    waiting = iter(samples[1:])
    warm: list[float] = []
    with bench.store(samples) as store, store.cluster(folder) as cluster:
        ask(cluster, BASE, expected[BASE])

        def ours() -> float:
            sample = next(waiting)
            empty(folder / "cache")
            took = cold_ms(cluster, sample.name, expected[sample.name])
            warm.append(warm_ms(cluster, sample.name, expected[sample.name]))
            return took

        def reference() -> float:
            return download_s(store.repository, samples[1].stamp.files, folder) * 1000

        pairs = bench.alternate(ours, reference, "ms")
    return compare(
        f"first answer of a {max(sizes) / 1e6:.0f} MB variant, its program loaded, its bytes in S3 "
        "on loopback, the disk cache empty",
        "ms",
        pairs,
        reference_is="ranged GETs of the same bytes into files, without hashing",
        target=Target(of="ratio", at_most=1.3),
        allowance=ADDED_MS + spread(warm).median,
        notes={"a warm answer, ms": spread(warm).median},
    )


def empty(cache: Path) -> None:
    """Remove every blob of a worker's disk cache, as an eviction of all of them would."""
    for blob in (cache / "sha256").iterdir():
        blob.unlink()


CASES = (Case("cold_disk", cold_disk), Case("cold_s3", cold_s3))
