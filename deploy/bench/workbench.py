"""What a case works with: its folders, the samples it asks for, and the servers over them.

.bench/results.json   the figures
.bench/s3             the store; kept, so that the next run finds the models published
.bench/s3-listings    another, with thousands of models
.bench/run/<case>     logs, Redis and blob cache of the last run of a case
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from deploy.bench.measure import Pair, alternate
from deploy.bench.references import environment
from deploy.bench.report import number
from deploy.bench.results import Figure
from deploy.local.cluster import Cluster
from deploy.local.folders import SAMPLES, WHEELS
from deploy.local.s3_server import S3Server, start_s3
from deploy.samples.catalogue import build_all, find, publish_all
from deploy.samples.sample import Sample
from deploy.samples.store import BuiltSample
from shared.repository import Repository
from shared.setting import MIB

ROOMY_BYTES = 4096 * MIB  # all samples fit: nothing is evicted unless a case asks for that


@dataclass(frozen=True)
class Workbench:
    """`rounds` of each case; `seconds` that one load lasts in a round."""

    folder: Path
    rounds: int
    seconds: float
    console: Console

    def scratch(self, name: str) -> Path:
        """An empty folder below `.bench/run`."""
        folder = self.folder / "run" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def samples(self, names: Sequence[str]) -> list[BuiltSample]:
        """The samples of these names, made if they are not there."""
        return self.made([find(name) for name in names])

    def made(self, chosen: Sequence[Sample]) -> list[BuiltSample]:
        """These samples, in an order in which each can be made, made if they are not there."""
        with self.console.status("samples") as status:

            def show(what: str, done: int, total: int) -> None:
                status.update(f"samples: {what} ({done} of {total})")

            return build_all(SAMPLES, WHEELS, show, chosen)

    @contextmanager
    def store(self, samples: Sequence[BuiltSample], folder: str = "s3") -> Iterator[Store]:
        """A running S3 store in which `samples` are published."""
        server = start_s3(self.folder / folder)
        try:
            repository = server.open_repository()
            with self.console.status("publish the samples"):
                publish_all(repository, samples)
            yield Store(server, repository)
        finally:
            server.stop()

    def alternate(
        self, ours: Callable[[], float], reference: Callable[[], float], unit: str
    ) -> list[Pair]:
        """The rounds of a case, each shown when it is over."""
        return alternate(
            self.rounds, ours, reference, lambda at, pair: self.show_round(at, pair, unit)
        )

    def show_round(self, at: int, pair: Pair, unit: str) -> None:
        """Show what round `at` (from 0) measured."""
        self.console.print(
            f"  round {at + 1} of {self.rounds}: ours {number(pair.ours)}, "
            f"reference {number(pair.reference)} {unit}",
            highlight=False,
        )


@dataclass(frozen=True)
class Store:
    """A running S3 store, and the repository in it."""

    server: S3Server
    repository: Repository

    @contextmanager
    def cluster(
        self, folder: Path, settings: Mapping[str, str] | None = None, *, workers: int = 1
    ) -> Iterator[Cluster]:
        """One gateway and `workers` workers over this store, all ready; their Redis and their disk
        cache lie below `folder`."""
        usual = {"WARMROUTE_DEVICE": "cpu", "WARMROUTE_MEMORY_BYTES": str(ROOMY_BYTES)}
        given = {**usual, **(settings or {})}
        with Cluster(
            folder, repository=self.server, settings=given, inherited=environment()
        ) as cluster:
            cluster.start_gateway()
            for _ in range(workers):
                cluster.start_worker()
            cluster.wait_ready()
            yield cluster


@dataclass(frozen=True)
class Case:
    """One measurement: its name on the command line, and what makes its figure. A `strict` one that
    misses its target fails the run: its limits hold on any machine."""

    name: str
    run: Callable[[Workbench], Figure]
    strict: bool = False
