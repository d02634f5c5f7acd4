"""A large repository and a large fleet: how long their lists take, and what they cost others.

Ten thousand models in a store without an index, as it was filled by other tools; three gateways
over it; and a fleet whose workers are made up, beside a real one, for the list of its copies.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace as changed
from redis.asyncio import Redis

from deploy.bench import lister, watched_gateway
from deploy.bench.limits import Limit, figure_of, show
from deploy.bench.load import steady, volley
from deploy.bench.many_models import fill
from deploy.bench.measure import BenchError, percentile
from deploy.bench.models import settings
from deploy.bench.posts import binary_post
from deploy.bench.references import environment
from deploy.bench.results import Figure, Note
from deploy.bench.scale.fleet import Fleet
from deploy.bench.watched_gateway import Stops, Watched
from deploy.bench.workbench import Case, Store, Workbench
from deploy.local.cluster import COMMANDS, Cluster
from deploy.local.folders import CODE
from deploy.samples.store import BuiltSample
from router.catalog.view import PAGE, PER_PAGE_S
from warmroute import Client

NAME = "listings"
MODEL = "tiny-mlp"
CONNECTIONS = 4
WITHIN_S, STOP_MS, LISTS_AN_HOUR, RATIO = 2.0, 20.0, 100.0, 1.3
SEEN_WITHIN_S = 60.0
LEAST_S = 3.0  # a 99th percentile needs some hundred answers


@dataclass(frozen=True)
class Size:
    """What is listed, and for how long gateways at rest are looked at."""

    models: int = 10_000
    gateways: int = 3
    workers: int = 1000
    copies: int = 100
    idle_s: float = 15.0


@dataclass
class Scene:
    """The gateways, the first of which is asked."""

    bench: Workbench
    store: Store
    cluster: Cluster
    watched: Sequence[Watched]
    sample: BuiltSample
    size: Size

    @property
    def url(self) -> str:
        """Of the first gateway."""
        return self.cluster.gateways[0].url

    def seconds(self, call: Callable[[], object]) -> float:
        """The median time of a call over the rounds."""
        return percentile([_took(call) for _ in range(self.bench.rounds)], 0.5)

    def list_models(self) -> None:
        """All of them, by the client; BenchError if any is missing."""
        found = len(self.cluster.client().models())
        if found < self.size.models:
            raise BenchError(f"{found} models are listed, not {self.size.models}")

    def list_in_terminal(self) -> None:
        """By the command, with its start."""
        command = [sys.executable, "-m", "deploy.cli", "models", "--url", self.url]
        subprocess.run(command, cwd=CODE, check=True, stdout=subprocess.DEVNULL)

    def push(self) -> None:
        """Publish another model, and wait until each gateway lists it."""
        name = f"pushed-{time.time_ns()}"
        raw = changed(self.sample.manifest(), name=name).encode()
        self.store.repository.put_manifest(name, 1, raw)
        for gateway in self.cluster.gateways:
            _await_model(self.cluster.client(gateway), name)

    def p99_ms(self) -> float:
        """Of warm requests."""
        post = binary_post(MODEL, self.sample.sample_request())
        seconds = max(self.bench.seconds, LEAST_S)
        load = steady(
            self.cluster.port, [post], lambda: 0, connections=CONNECTIONS, seconds=seconds
        )
        return load.latency_ms(0.99)

    def p99_beside_ms(self, path: str) -> float:
        """The same while a list of that path is read again and again."""
        log = self.cluster.folder / "lister.log"
        with lister.listing(self.url, [path], log):
            return self.p99_ms()

    def stops(self, path: str) -> Stops:
        """What the loop of the gateway noted while a list is read once."""
        self.watched[0].read()
        with closing(lister.connect(self.url)) as connection:
            lister.read_all(connection, path)
        return self.watched[0].read()


def run(bench: Workbench, size: Size = Size()) -> Figure:
    """The largest share of its limit that anything takes."""
    folder = bench.scratch(NAME)
    (sample,) = bench.samples([MODEL])
    with bench.store([sample], "s3-listings") as store:
        fill(store.server, store.repository, sample, size.models)
        with _scene(bench, store, folder, sample, size) as scene:
            limits, notes = _measure(scene)
    title = f"{size.models} models in S3, {size.gateways} gateways, {size.workers} workers"
    show(bench.console, title, limits)
    return figure_of(title, limits, notes)


@contextmanager
def _scene(
    bench: Workbench, store: Store, folder: Path, sample: BuiltSample, size: Size
) -> Iterator[Scene]:
    commands = {**COMMANDS, "router": watched_gateway.COMMAND}
    given = settings(4 * sample.total_bytes, folder / "cache", WARMROUTE_DEVICE="cpu")
    with Cluster(
        folder, repository=store.server, settings=given, inherited=environment(), commands=commands
    ) as cluster:
        watched = []
        for number in range(size.gateways):
            path = folder / f"stops-{number}"
            gateway = cluster.add_gateway(BENCH_STOPS=str(path))
            watched.append(Watched(gateway.child.pid, path))
        cluster.add_worker()
        volley(cluster.port, [binary_post(MODEL, sample.sample_request())])
        yield Scene(bench, store, cluster, watched, sample, size)


def _measure(scene: Scene) -> tuple[list[Limit], dict[str, Note]]:
    walked = [each.read().lists for each in scene.watched]
    _await_model(scene.cluster.client(), "made-up-00000")
    limits = [
        Limit("the index, by the client", scene.seconds(scene.list_models), "s", WITHIN_S),
        Limit("`warmroute models`", scene.seconds(scene.list_in_terminal), "s", WITHIN_S),
        Limit(
            "a push, until every gateway lists it; the longest",
            max(_took(scene.push) for _ in range(scene.bench.rounds)), "s", WITHIN_S,
        ),
    ]  # fmt: skip
    lists = _lists_an_hour(scene, max(walked))
    limits.append(Limit("LISTs an hour of a gateway at rest", lists, "", LISTS_AN_HOUR))
    asyncio.run(_add_fleet(scene))
    notes: dict[str, Note] = {"LISTs of each gateway until it was ready": str(walked)}
    for path in lister.LISTS:
        stops = scene.stops(path)
        limits.append(Limit(f"{path}: the loop stops", 1000 * stops.longest, "ms", STOP_MS))
        notes |= {
            f"{path}: processor time of the longest stop, ms": 1000 * stops.longest_cpu,
            f"{path}: longest collection of garbage, ms": 1000 * stops.collected,
        }
        alone, beside = scene.p99_ms(), scene.p99_beside_ms(path)
        limits.append(Limit(f"p99 beside {path}, over that alone", beside / alone, "", RATIO))
        notes[f"{path}: p99 beside and alone, ms"] = f"{beside:.1f} and {alone:.1f}"
    return limits, notes


def _lists_an_hour(scene: Scene, walk: int) -> float:
    """Of the gateway that has most: what each sends at rest, and the listings of the repository,
    which one of them makes when they are due, as long as one takes `walk` LISTs."""
    for each in scene.watched:
        each.read()
    time.sleep(scene.size.idle_s)
    at_rest = max(each.read().lists for each in scene.watched) / scene.size.idle_s
    walks = 1 / (PER_PAGE_S * max(1, -(-scene.size.models // PAGE)))
    return 3600 * (at_rest + walk * walks)


async def _add_fleet(scene: Scene) -> None:
    """Made-up workers beside the real one."""
    async with Redis.from_url(scene.cluster.servers.redis_url) as client:
        fleet = Fleet(client, scene.cluster.keys)
        await fleet.grow(scene.size.workers, scene.size.copies, holders=10)


def _await_model(client: Client, name: str) -> None:
    ends = time.monotonic() + SEEN_WITHIN_S
    while not client.models(prefix=name):
        if time.monotonic() > ends:
            raise BenchError(f"{name} is not listed {SEEN_WITHIN_S:g} s after its push")
        time.sleep(0.02)


def _took(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


CASE = Case(NAME, run)
