"""Reads of the residency map about models: readiness, the states of an index, one model's copies.

Each takes a few commands for each model, however many workers, copies and models there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from router.fleet import model_report
from router.fleet.asking import Asking
from router.fleet.facts import is_ref, worker_commands, worker_of
from router.fleet.load_status import Readiness, failure, readiness
from shared.channel import Channel
from shared.keys import Keys
from shared.names import ModelRef
from shared.policy import Policy
from shared.redis_decode import after_ms, is_alive, text_of, texts
from shared.repository import Listed

SOME = 8  # holders of a model, one of which is live: reap takes those of dead workers away

Version = tuple[str, int]


class ResidencyReader:
    """Reads of the residency map."""

    def __init__(self, channel: Channel, keys: Keys) -> None:
        self._asking = Asking(channel, keys)
        self._keys = keys

    async def readiness(self, ref: ModelRef) -> Readiness:
        """Whether a live worker holds the model; and why requests for it are refused, if so."""
        keys, name = self._keys, str(ref)
        now_ms = await self._asking.now_ms()
        holders, why, why_ms, breaker = await self._asking.ask(
            [
                ("HKEYS", keys.holders(name)), ("GET", keys.unloadable(name)),
                ("PTTL", keys.unloadable(name)), ("HGETALL", keys.breaker(name)),
            ]
        )  # fmt: skip
        held_by = await self._live(holders, now_ms)
        return readiness(sorted(held_by), failure(text_of(why), why_ms), texts(breaker), now_ms)

    async def held(self, models: Sequence[Listed]) -> set[Version]:
        """Name and version of those that some live worker holds."""
        asking, keys = self._asking, self._keys
        loaded = await asking.each(
            [model.name for model in models],
            lambda name: (("HGETALL", keys.loaded_versions(name)),),
        )
        refs = [
            f"{model.name}:{version}:{digest}"
            for model in models
            for version, digest in texts(loaded.get(model.name, [{}])[0]).items()
        ]
        refs = list(filter(is_ref, refs))
        rows = await asking.each(refs, lambda ref: (("HRANDFIELD", keys.holders(ref), SOME),))
        some = {ref: holders for ref, (holders,) in rows.items() if holders}
        live = await self._live(
            (worker for holders in some.values() for worker in holders), await asking.now_ms()
        )
        found = [ref for ref, holders in some.items() if any(w.decode() in live for w in holders)]
        return {_version(ref) for ref in found}

    async def troubles(self, models: Sequence[Listed]) -> dict[Version, Readiness]:
        """The readiness of those whose load has failed, or that are quarantined."""
        asking, keys = self._asking, self._keys
        names = {model.name for model in models}
        now_ms = await asking.now_ms()
        refused = [
            ref.decode(errors="replace")
            async for ref, until in asking.scanned("ZSCAN", keys.refused_models)
            if is_alive(until, now_ms)
        ]
        refs = sorted({ref for ref in refused if ref.partition(":")[0] in names and is_ref(ref)})
        rows = await asking.each(
            refs,
            lambda ref: (
                ("GET", keys.unloadable(ref)), ("HGETALL", keys.breaker(ref)),
                ("HKEYS", keys.holders(ref)),
            ),
        )  # fmt: skip
        live = await self._live((w for _, _, some in rows.values() for w in some), now_ms)
        found: dict[Version, Readiness] = {}
        for ref, (why, breaker, holders) in rows.items():
            held_by = sorted(live.intersection(worker.decode() for worker in holders))
            failed = failure(text_of(why), 0)
            found[_version(ref)] = readiness(held_by, failed, texts(breaker), now_ms)
        return found

    async def model(self, ref: ModelRef, given: Policy) -> dict[str, Any]:
        """The document of GET .../residency of one model; `given` is its manifest's policy."""
        asking, keys = self._asking, self._keys
        asked = model_report.commands(keys, str(ref))
        now_ms = await asking.now_ms()
        replies = dict(zip(asked, await asking.ask([*asked.values()]), strict=True))
        (alive,) = await asking.ask([("ZCOUNT", keys.workers, after_ms(now_ms), "+inf")])
        live = await self._live((*replies["holders"], *replies["warm"]), now_ms)
        rows = await asking.each(sorted(live), lambda worker: worker_commands(keys, worker))
        workers = [worker_of(worker, *row) for worker, row in rows.items()]
        return model_report.document(ref, given, replies, workers, now_ms, alive)

    async def _live(self, workers: Iterable[bytes], now_ms: int) -> set[str]:
        names = (worker.decode(errors="replace") for worker in workers)
        return await self._asking.live_among(names, now_ms)


def _version(ref: str) -> Version:
    name, version, _ = ModelRef.parse(ref)
    return name, version
