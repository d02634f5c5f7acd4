"""Reads the residency map: which worker holds which copies, for documents and readiness.

Each read takes two to four round trips, however many workers and models there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from router.fleet import fleet_report, model_report
from router.fleet.fleet_report import ModelFacts, WorkerFacts
from router.fleet.load_status import Readiness, failure, load_state, readiness
from shared.connection import redis_errors
from shared.errors import InvalidInput
from shared.keys import Keys
from shared.names import ModelRef
from shared.policy import Policy
from shared.redis_decode import alive, cell_ms, text_of, texts
from shared.worker_report import decode

# Commands at a time: a longer pipeline would delay this gateway's requests.
AT_ONCE = 500

Command = tuple[Any, ...]  # a method of redis-py, and its arguments


class ResidencyReader:
    """Reads of the residency map."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def live_workers(self) -> list[str]:
        """Ids of workers whose lease is valid, in order."""
        _, live = _now_and_live(*await self._ask([*self._clock(), self._leases()]))
        return live

    async def readiness(self, ref: ModelRef) -> Readiness:
        """Whether a live worker holds the model; and why requests for it are refused, if so."""
        keys, name = self._keys, str(ref)
        time, noted, leases, holders, why, why_ms, breaker = await self._ask(
            [
                *self._clock(), self._leases(), ("hkeys", keys.holders(name)),
                ("get", keys.unloadable(name)), ("pttl", keys.unloadable(name)),
                ("hgetall", keys.breaker(name)),
            ]
        )  # fmt: skip
        now_ms, live = _now_and_live(time, noted, leases)
        held_by = _among(live, holders)
        return readiness(held_by, failure(text_of(why), why_ms), texts(breaker), now_ms)

    async def troubles(self) -> dict[tuple[str, int], Readiness]:
        """The readiness of versions whose load has failed, or that are quarantined, by name and
        version."""
        keys = self._keys
        time, noted, leases, rows = await self._ask(
            [*self._clock(), self._leases(), ("zrange", keys.refused_models, 0, -1)]
        )
        now_ms, live = _now_and_live(time, noted, leases)
        refs = alive(rows, now_ms)
        answers = await self._ask_each(
            refs,
            lambda ref: (
                ("get", keys.unloadable(ref)), ("hgetall", keys.breaker(ref)),
                ("hkeys", keys.holders(ref)),
            ),
        )  # fmt: skip
        found: dict[tuple[str, int], Readiness] = {}
        for name, (why, breaker, holders) in answers.items():
            ref = ModelRef.parse(name)
            held_by, failed = _among(live, holders), failure(text_of(why), 0)
            found[ref.name, ref.version] = readiness(held_by, failed, texts(breaker), now_ms)
        return found

    async def held(self) -> set[tuple[str, int]]:
        """Name and version of every model that some live worker holds."""
        live = await self.live_workers()
        rows = await self._ask_each(live, lambda worker: (("smembers", self._keys.holds(worker)),))
        refs = [ModelRef.parse(ref) for (found,) in rows.values() for ref in _refs(found)]
        return {(ref.name, ref.version) for ref in refs}

    async def report(self) -> dict[str, Any]:
        """The document of GET /v2/residency."""
        keys = self._keys
        time, noted, leases, parked, required = await self._ask(
            [
                *self._clock(),
                self._leases(),
                ("smembers", keys.parked_refs),
                ("smembers", keys.min_copies),
            ]
        )
        now_ms, live = _now_and_live(time, noted, leases)
        workers = await self._workers(live)
        waited_for = _refs((*parked, *required))
        waited_for.update(*(worker.loads for worker in workers))
        held = (ref for worker in workers for ref in {*worker.holds, *worker.report.copies})
        refs = waited_for.union(filter(_is_ref, held))
        models = await self._models(sorted(refs), sorted(waited_for))
        # For ten thousand copies it is tenths of a second: not for the event loop.
        return await asyncio.to_thread(fleet_report.document, workers, models, now_ms)

    async def model(self, ref: ModelRef, given: Policy) -> dict[str, Any]:
        """The document of GET .../residency of one model; `given` is its manifest's policy."""
        asked = model_report.commands(self._keys, str(ref))
        commands = [*self._clock(), self._leases(), *asked.values()]
        time, noted, leases, *answers = await self._ask(commands)
        now_ms, live = _now_and_live(time, noted, leases)
        replies = dict(zip(asked, answers, strict=True))
        mentioned = {worker.decode() for worker in (*replies["holders"], *replies["warm"])}
        workers = await self._workers([worker for worker in live if worker in mentioned])
        return model_report.document(ref, given, replies, workers, now_ms, len(live))

    async def _workers(self, live: Sequence[str]) -> list[WorkerFacts]:
        keys = self._keys
        rows = await self._ask_each(
            live,
            lambda worker: (
                ("hgetall", keys.worker(worker)), ("xlen", keys.work(worker)),
                ("smembers", keys.holds(worker)), ("smembers", keys.loads(worker)),
            ),
        )  # fmt: skip
        return [_worker(worker, *row) for worker, row in rows.items()]

    async def _models(
        self, refs: Sequence[str], waited_for: Sequence[str]
    ) -> dict[str, ModelFacts]:
        keys = self._keys
        rows = await self._ask_each(
            refs,
            lambda ref: (
                ("hgetall", keys.holders(ref)), ("hgetall", keys.warm(ref)),
                ("hmget", keys.stats(ref), *fleet_report.SETTINGS),
                ("hmget", keys.policy(ref), *fleet_report.SETTINGS), ("scard", keys.pinned(ref)),
            ),
        )  # fmt: skip
        loads = await self._ask_each(
            waited_for, lambda ref: (("hgetall", keys.load(ref)), ("xlen", keys.parked(ref)))
        )
        nothing: list[Any] = [{}, 0]
        return {ref: _model(*row, *loads.get(ref, nothing)) for ref, row in rows.items()}

    def _clock(self) -> tuple[Command, Command]:
        return ("time",), ("get", self._keys.clock)

    def _leases(self) -> Command:
        return ("zrange", self._keys.workers, 0, -1)

    async def _ask_each(
        self, names: Sequence[str], commands_of: Callable[[str], tuple[Command, ...]]
    ) -> dict[str, list[Any]]:
        """The replies to the same commands for each name. A name whose key holds something else
        (of another release, say) is left out: it must not hide the others."""
        commands = [command for name in names for command in commands_of(name)]
        answers = await self._ask(commands, any_type=True)
        each = len(commands) // len(names) if names else 1
        rows = (answers[at : at + each] for at in range(0, len(answers), each))
        return {
            name: row
            for name, row in zip(names, rows, strict=True)
            if not any(_is_of_another_type(reply) for reply in row)
        }

    async def _ask(self, commands: Sequence[Command], any_type: bool = False) -> list[Any]:
        """The replies to commands, in as few round trips as possible; with `any_type` the error of
        one whose key holds another type is its reply."""
        answers: list[Any] = []
        for at in range(0, len(commands), AT_ONCE):
            with redis_errors():
                pipe = self._client.pipeline(transaction=False)
                for name, *given in commands[at : at + AT_ONCE]:
                    options = {"withscores": True} if name == "zrange" else {}
                    getattr(pipe, name)(*given, **options)
                replies = await pipe.execute(raise_on_error=not any_type)
                for reply in replies:
                    if isinstance(reply, Exception) and not _is_of_another_type(reply):
                        raise reply
            answers += replies
        return answers


def _refs(members: Iterable[bytes]) -> set[str]:
    """Those that name a model version as this release does."""
    return set(filter(_is_ref, (member.decode(errors="replace") for member in members)))


def _is_ref(text: str) -> bool:
    try:
        ModelRef.parse(text)
    except InvalidInput:
        return False
    return True


def _is_of_another_type(reply: object) -> bool:
    return type(reply) is ResponseError and str(reply).startswith("WRONGTYPE")


def _now_and_live(
    time: tuple[int, int], noted: bytes | None, leases: Iterable[tuple[bytes, float]]
) -> tuple[int, list[str]]:
    """The cell's clock in ms, and the workers whose lease is valid, in order."""
    now_ms = cell_ms(time, noted)
    return now_ms, alive(leases, now_ms)


def _among(live: Iterable[str], holders: Iterable[bytes]) -> list[str]:
    return sorted({worker.decode() for worker in holders}.intersection(live))


def _worker(
    worker: str, record: dict[bytes, bytes], queue: int, holds: set[bytes], loads: set[bytes]
) -> WorkerFacts:
    known = texts(record)
    return WorkerFacts(
        worker, decode(known), known.get("epoch", ""), queue,
        frozenset(_refs(holds)), frozenset(_refs(loads)),
    )  # fmt: skip


def _model(
    holders: dict[bytes, bytes], warm: dict[bytes, bytes], known: list[bytes | None],
    policy: list[bytes | None], sessions: int, load: dict[bytes, bytes], parked: int,
) -> ModelFacts:  # fmt: skip
    values = [
        text_of(override) or text_of(given) for given, override in zip(known, policy, strict=True)
    ]
    settings = {
        name: text for name, text in zip(fleet_report.SETTINGS, values, strict=True) if text
    }
    return ModelFacts(
        texts(holders), texts(warm), settings, sessions, parked, load_state(texts(load))
    )
