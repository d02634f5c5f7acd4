"""GET /v2/residency, a page at a time: workers by id, then the models that no worker holds.

    leases -> workers of the page -> their models -> rows
           -> at the end of the workers: parked models, and those that must have copies

A page costs what is on it, beside the list of leases. It is read and made in slices: however large
it is, the event loop goes on with requests.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from router.fleet.asking import Asking
from router.fleet.facts import (
    ModelFacts,
    WorkerFacts,
    is_ref,
    load_commands,
    model_commands,
    model_of,
    refs_of,
    worker_commands,
    worker_of,
)
from router.fleet.fleet_report import Fleet
from router.fleet.json_rows import JsonRows
from router.fleet.place import Place
from shared.channel import Channel
from shared.keys import Keys
from shared.redis_decode import is_alive, text_of
from shared.slices import in_slices

MOST_WORKERS = 1000  # on a page
MOST_COPIES = 20_000  # then it ends with that worker: 5 MB of JSON, and a second
# In one pipeline: the reports of 25 workers with a thousand copies each are 2 MB.
WORKERS_AT_ONCE, MODELS_AT_ONCE = 25, 40
WORKERS, PARKED, REQUIRED = "w", "p", "r"


@dataclass(frozen=True)
class FleetQuery:
    """What is asked for. `prefix`: of model names; `worker`: its id; `state`: of workers."""

    limit: int = MOST_WORKERS
    after: str = ""
    prefix: str = ""
    worker: str = ""
    state: str = ""

    def shows(self, worker: WorkerFacts) -> bool:
        """Whether a worker is on a page. With a prefix, one without such a model is not."""
        if self.state and worker.report.state != self.state:
            return False
        return not self.prefix or any(map(self.names, _refs_on(worker)))

    def names(self, ref: str) -> bool:
        """Whether a model is on a page."""
        return ref.startswith(self.prefix)


@dataclass
class Page:
    """What has been read for a page, and where the next one begins."""

    live: dict[str, float]
    now_ms: int
    workers: list[WorkerFacts] = field(default_factory=list)
    refs: set[str] = field(default_factory=set)
    waited_for: set[str] = field(default_factory=set)
    copies: int = 0
    next: Place | None = None

    @property
    def full(self) -> bool:
        """Whether it has as many copies as a page may have."""
        return self.copies + len(self.waited_for) >= MOST_COPIES


@dataclass
class FleetRows:
    """A page, or several in a row. `next`: the `after` of the one that follows, None at the end;
    `copies`: how many its workers have."""

    workers: JsonRows
    models: JsonRows
    loads: JsonRows
    copies: int = 0
    next: str | None = None

    def extend(self, other: FleetRows) -> None:
        """The rows of another page behind these, which ends where that one does."""
        self.workers.extend(other.workers)
        self.models.extend(other.models)
        self.loads.extend(other.loads)
        self.copies += other.copies
        self.next = other.next

    def document(self) -> dict[str, Any]:
        """That of GET /v2/residency."""
        lists = {"workers": self.workers, "models": self.models, "loads": self.loads}
        return lists | {"next": self.next}


class FleetPages:
    """Reads them, over a channel of their own."""

    def __init__(self, channel: Channel, keys: Keys) -> None:
        self._asking = Asking(channel, keys)
        self._keys = keys

    async def report(
        self, query: FleetQuery = FleetQuery(), beside: Mapping[str, Any] | None = None
    ) -> FleetRows:
        """The page behind `query.after`, with `beside` in each row. InvalidInput for a place that
        no page gave."""
        place = Place.parse(query.after, (WORKERS, PARKED, REQUIRED)) or Place(WORKERS, "")
        page = Page(*await self._leases())
        if place.kind == WORKERS:
            await self._read_workers(page, query, place.text)
            place = Place(PARKED, "0")
        if page.next is None and not query.worker and not query.state:
            await self._read_waiting(page, query, place)
        follows = None if page.next is None else str(page.next)
        lists = JsonRows(beside), JsonRows(beside), JsonRows(beside)
        rows = FleetRows(*lists, page.copies, follows)
        await self._make(page, rows)
        return rows

    async def _leases(self) -> tuple[dict[str, float], int]:
        """Workers whose lease is valid, by id; and Redis's clock."""
        now_ms = await self._asking.now_ms()
        found = {
            name.decode(errors="replace"): lease
            async for name, lease in self._asking.scanned("ZSCAN", self._keys.workers)
            if is_alive(lease, now_ms)
        }
        return found, now_ms

    async def _read_workers(self, page: Page, query: FleetQuery, after: str) -> None:
        """Workers in order of their ids, MOST_WORKERS of which are looked at."""
        ids = sorted(id for id in page.live if id > after and query.worker in ("", id))
        looked = 0
        while looked < len(ids):
            most = min(WORKERS_AT_ONCE, query.limit - len(page.workers), MOST_WORKERS - looked)
            part = ids[looked : looked + most]
            async for id, row in in_slices((await self._worker_rows(part)).items()):
                self._take(page, query, worker_of(id, *row))
            looked += len(part)
            if page.full or len(page.workers) == query.limit or looked == MOST_WORKERS:
                break
        if looked < len(ids):
            page.next = Place(WORKERS, ids[looked - 1])

    def _take(self, page: Page, query: FleetQuery, worker: WorkerFacts) -> None:
        if query.shows(worker):
            held = set(filter(query.names, _refs_on(worker)))
            page.workers.append(worker)
            page.copies += len(held)
            page.refs |= held
            page.waited_for |= set(filter(query.names, worker.loads))

    async def _read_waiting(self, page: Page, query: FleetQuery, place: Place) -> None:
        """The models that requests wait for, then those that must have copies: many may have no
        worker."""
        keys = {PARKED: self._keys.parked_refs, REQUIRED: self._keys.min_copies}
        kind, cursor = place.kind, place.number
        while True:
            cursor, members = await self._asking.scan("SSCAN", keys[kind], cursor)
            page.waited_for |= set(filter(query.names, refs_of(members)))
            if not cursor and kind == REQUIRED:
                return
            kind = kind if cursor else REQUIRED
            if page.full:
                page.next = Place(kind, str(cursor))
                return

    async def _worker_rows(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        return await self._asking.each(ids, lambda id: worker_commands(self._keys, id))

    async def _models(
        self, refs: Sequence[str], waited_for: Collection[str]
    ) -> dict[str, ModelFacts]:
        found: dict[str, ModelFacts] = {}
        nothing: list[Any] = [{}, 0]
        for at in range(0, len(refs), MODELS_AT_ONCE):
            part = refs[at : at + MODELS_AT_ONCE]
            rows = await self._asking.each(part, lambda ref: model_commands(self._keys, ref))
            waiting = [ref for ref in part if ref in waited_for]
            loads = await self._asking.each(waiting, lambda ref: load_commands(self._keys, ref))
            found |= {ref: model_of(*row, *loads.get(ref, nothing)) for ref, row in rows.items()}
        return found

    async def _make(self, page: Page, rows: FleetRows) -> None:
        models = await self._models(sorted(page.refs | page.waited_for), page.waited_for)
        epochs = await self._epochs(page, models)
        fleet = Fleet(page.workers, models, epochs, len(page.live), page.now_ms)
        async for worker in in_slices(fleet.worker_rows()):
            if worker is not None:
                rows.workers.add(worker)
        async for model in in_slices(fleet.model_rows()):
            rows.models.add(model)
        async for load in in_slices(fleet.load_rows()):
            rows.loads.add(load)

    async def _epochs(self, page: Page, models: dict[str, ModelFacts]) -> dict[str, str]:
        """Of the workers on the page, and of the others that hold one of its models."""
        epochs = {worker.id: worker.epoch for worker in page.workers}
        mentioned: set[str] = set()
        async for model in in_slices(models.values()):
            mentioned.update(model.holders, model.warm)
        others = sorted(mentioned.intersection(page.live) - epochs.keys())
        rows = await self._asking.each(
            others, lambda id: (("HGET", self._keys.worker(id), "epoch"),)
        )
        return epochs | {id: text_of(epoch) for id, (epoch,) in rows.items()}


def _refs_on(worker: WorkerFacts) -> Collection[str]:
    return worker.holds | set(filter(is_ref, worker.report.copies))
