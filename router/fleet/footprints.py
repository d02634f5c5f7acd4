"""The footprint of a model as a gateway expects it: to say beforehand what cannot fit.

The workers decide by their own ledgers. A gateway computes the same sum (`shared/footprint.py`)
from what earlier loads have recorded. Blobs that several models share are counted for each model,
since the models may be loaded on different workers.
"""

from __future__ import annotations

from collections.abc import Sequence

from router.catalog.catalog import Entry
from router.fleet.asking import Asking, Command
from shared.channel import Channel
from shared.footprint import expected
from shared.keys import Keys
from shared.manifest import Manifest

OWN = b"own:"
# A budget is read to say how large a model may be: every class of devices is seen, and the cost
# is that of a small cell, whatever the cell has.
MOST_SAMPLED, MOST_CLASSES, OF_EACH_CLASS = 128, 16, 4


class Footprints:
    """Reads learned bytes, and budgets, from Redis."""

    def __init__(self, channel: Channel, keys: Keys) -> None:
        self._keys = keys
        self._asking = Asking(channel, keys)

    async def budgets(self) -> list[int]:
        """The budget for models, in bytes, of live workers that are ready: of all, up to
        MOST_SAMPLED; of a larger cell so many at random, and some of each device class."""
        asking, keys = self._asking, self._keys
        number, classes = await asking.ask(
            [("ZCARD", keys.workers), ("SRANDMEMBER", keys.device_classes, MOST_CLASSES)]
        )
        asked: list[Command] = [("ZRANDMEMBER", keys.workers, MOST_SAMPLED)]
        if number > MOST_SAMPLED:
            names = (name.decode(errors="replace") for name in classes)
            asked += [("ZRANGE", keys.ready(name), 0, OF_EACH_CLASS - 1) for name in names]
        drawn = {
            worker.decode(errors="replace") for some in await asking.ask(asked) for worker in some
        }
        live = await asking.live_among(drawn, await asking.now_ms())
        rows = await asking.each(
            sorted(live), lambda id: (("HMGET", keys.worker(id), "state", "budget_bytes"),)
        )
        known = (values for (values,) in rows.values())
        return [int(budget) for state, budget in known if state == b"ready" and _is_number(budget)]

    async def of(self, entries: Sequence[Entry], budgets: Sequence[int]) -> list[int]:
        """Bytes of a copy of each entry; of a model with a `fraction` at least that share of the
        smallest of `budgets`."""
        keys = self._keys
        refs = [str(entry.ref) for entry in entries]
        stats = await self._asking.each(refs, lambda ref: (("HGETALL", keys.stats(ref)),))
        given = await self._asking.each(refs, lambda ref: (("HGET", keys.policy(ref), "fraction"),))
        smallest, sizes = min(budgets, default=0), []
        for ref, entry in zip(refs, entries, strict=True):
            (known,), (override,) = stats.get(ref, [{}]), given.get(ref, [None])
            fraction = _fraction(entry.manifest, override)
            sizes.append(size(entry.manifest, known, fraction, smallest))
        return sizes


def size(
    manifest: Manifest, stats: dict[bytes, bytes], fraction: float = 0.0, budget: int = 0
) -> int:
    """Bytes of a copy. `stats`: what Redis holds of earlier loads. The device class that takes the
    most counts: the gateway does not know which worker will load the model."""
    own = [int(value) for name, value in stats.items() if name.startswith(OWN) and value.isdigit()]
    return expected(manifest, max(own, default=None), fraction, budget).total


def _is_number(text: bytes | None) -> bool:
    return text is not None and text.isdigit()


def _fraction(manifest: Manifest, override: bytes | None) -> float:
    try:
        return manifest.residency.fraction if override is None else float(override)
    except ValueError:
        return manifest.residency.fraction
