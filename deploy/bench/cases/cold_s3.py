"""A cold model whose bytes are in S3 only: how near its first answer comes to a bare download."""

from __future__ import annotations

from pathlib import Path

from deploy.bench.cases.cold_disk import ADDED_MS
from deploy.bench.cases.variants import (
    BASE,
    NAMES,
    ask,
    cold_ms,
    expected_answers,
    per_round,
    warm_ms,
)
from deploy.bench.measure import spread
from deploy.bench.ranged import download_s
from deploy.bench.results import Figure, Target, compare
from deploy.bench.workbench import Case, Workbench

NAME = "cold_s3"
TARGET = Target(of="ratio", at_most=1.3)


def run(bench: Workbench) -> Figure:
    """Time to the first answer, beside that of a ranged download of the same bytes; ms. What a
    first answer from disk may take (30 ms and the inference) is allowed on top of the ratio."""
    folder = bench.scratch(NAME)
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
        target=TARGET,
        allowance=ADDED_MS + spread(warm).median,
        notes={"a warm answer, ms": spread(warm).median},
    )


def empty(cache: Path) -> None:
    """Remove every blob of a worker's disk cache, as an eviction of all of them would."""
    for blob in (cache / "sha256").iterdir():
        blob.unlink()


CASE = Case(NAME, run)
