"""The host tier of a worker: models whose weights stay in host memory, ready for a quick load.

Kept are the weights blobs of a model; those that several models share are kept, and count, once.
The model that was kept or promoted longest ago is dropped first. Only code of the event loop calls
this; reading and freeing run on threads. Always: used <= budget.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared.errors import WarmrouteError
from shared.footprint import Footprint, predict, sharing, weight_files
from shared.manifest import FileEntry, Manifest
from shared.platforms import Sharing
from shared.tasks import BackgroundTasks
from worker.device.base import Device
from worker.residency.ledger import Ledger

log = logging.getLogger(__name__)


class HostTier:
    """The models that are kept in host memory, within `budget` bytes (0: none). `maps`: their files
    are mapped, not copied. `on_free(ref)` is called when a model is kept no longer."""

    def __init__(self, budget: int, device: Device) -> None:
        self._device = device
        self.maps = device.kind == "cpu"
        self.on_free: Callable[[str], object] = lambda ref: None
        self._ledger = Ledger(budget)
        self._booked: dict[str, Footprint] = {}  # what the ledger has
        self._kept: dict[str, Footprint] = {}  # of these, those that are read; oldest first
        self._keeping: dict[str, asyncio.Task[bool]] = {}
        self._leaving: set[str] = set()
        self._in_use: list[frozenset[str]] = []
        self._freeing = BackgroundTasks[None]()

    @property
    def budget(self) -> int:
        """Bytes of host memory for this tier."""
        return self._ledger.budget

    @property
    def used(self) -> int:
        """Bytes kept, and reserved for what is being read."""
        return self._ledger.used

    def refs(self) -> list[str]:
        """The models kept, the least recently kept or promoted first."""
        return [ref for ref in self._kept if ref not in self._leaving]

    def holds(self, ref: str) -> bool:
        """Whether all weights of the model are here."""
        return ref in self._kept and ref not in self._leaving

    def missing(self, manifest: Manifest) -> list[FileEntry]:
        """The files that a load needs on disk. `promoting` keeps the others here meanwhile."""
        kept = {sha256 for footprint in self._kept.values() for sha256, _ in footprint.blobs}
        here = kept & _hashes(manifest)
        return [entry for entry in manifest.files if entry.sha256 not in here]

    @contextmanager
    def promoting(self, manifest: Manifest) -> Iterator[list[FileEntry]]:
        """Keep what a load takes from here until the block ends. Yields what `missing` returns."""
        blobs = _hashes(manifest)
        self._in_use.append(blobs)
        for ref in [ref for ref, footprint in self._kept.items() if _has(footprint, blobs)]:
            self._kept[ref] = self._kept.pop(ref)
        try:
            yield self.missing(manifest)
        finally:
            self._in_use.remove(blobs)
            for ref in list(self._leaving):
                self.drop(ref)

    def could_keep(self, manifest: Manifest) -> bool:
        """Whether the model fits, if older models are dropped."""
        return sharing(manifest) is Sharing.WEIGHTS and (
            self._victims(predict(manifest)) is not None
        )

    async def keep(self, ref: str, manifest: Manifest, files: Mapping[str, Path]) -> bool:
        """Keep the model's weights; those that are not here yet are read from `files` (by the names
        in the manifest), and older models are dropped for them. False if that fails: the model is
        too large, others are in use, the host is out of memory, a file cannot be read, or its
        format has no weights of their own."""
        if sharing(manifest) is not Sharing.WEIGHTS or ref in self._leaving:
            return False
        if ref in self._kept:
            self._kept[ref] = self._kept.pop(ref)
            return True
        if ref not in self._keeping:
            footprint = predict(manifest)
            victims = self._victims(footprint)
            if victims is None:
                return False
            for victim in victims:
                self._forget(victim)
            self._reserve(ref, footprint)
            task = asyncio.create_task(self._load(ref, footprint, manifest, files))
            self._keeping[ref] = task
            task.add_done_callback(lambda _: self._keeping.pop(ref, None))
        # The thread that reads cannot be stopped, so neither can what books its bytes.
        return await asyncio.shield(self._keeping[ref])

    def drop(self, ref: str) -> None:
        """Keep the model no longer. It no longer counts as held from now on, and is freed once no
        load takes from it and it is not being read."""
        if ref in self._keeping or (ref in self._kept and self._is_used(self._kept[ref])):
            self._leaving.add(ref)
            return
        self._leaving.discard(ref)
        if ref in self._kept:
            self._forget(ref)

    def resize(self, budget: int) -> None:
        """Change the budget: the models kept or promoted longest ago are dropped until the others
        fit, but for those from which a load takes."""
        self._ledger.budget = budget
        for ref in self.refs():
            if self.used <= budget:
                return
            if not self._is_used(self._kept[ref]):
                self._forget(ref)

    async def close(self) -> None:
        """Wait for what is being read and freed."""
        while pending := [*self._keeping.values(), *self._freeing]:
            await asyncio.wait(pending)
            await asyncio.sleep(0)  # their callbacks

    def _victims(self, needed: Footprint) -> list[str] | None:
        """The models to drop so that `needed` fits, none of them needlessly; None if dropping all
        is not enough."""
        chosen: list[str] = []
        free = (ref for ref, footprint in self._kept.items() if not self._is_used(footprint))
        while self._ledger.used_with(needed, chosen) > self.budget:
            ref = next(free, None)
            if ref is None:
                return None
            chosen.append(ref)
        for ref in reversed(chosen):
            spared = [other for other in chosen if other != ref]
            if self._ledger.used_with(needed, spared) <= self.budget:
                chosen = spared
        return chosen

    async def _load(
        self, ref: str, footprint: Footprint, manifest: Manifest, files: Mapping[str, Path]
    ) -> bool:
        while self._freeing:  # what was dropped for this is still in memory until then
            await asyncio.wait(set(self._freeing))
            await asyncio.sleep(0)
        try:
            await asyncio.to_thread(self._read, weight_files(manifest), files)
        except (OSError, RuntimeError, LookupError, WarmrouteError) as error:
            log.warning("%s is not kept in host memory: %s", ref, error)
            self._free(ref, footprint)
            return False
        if ref in self._leaving:
            self._leaving.discard(ref)
            self._free(ref, footprint)
            return False
        self._kept[ref] = footprint
        return True

    def _read(self, entries: Sequence[FileEntry], files: Mapping[str, Path]) -> None:
        store = self._device.hosted
        for entry in entries:
            if entry.sha256 not in store:
                store.keep(entry.sha256, files[entry.name])

    def _reserve(self, ref: str, footprint: Footprint) -> None:
        self._ledger.reserve(ref, footprint)
        self._booked[ref] = footprint
        assert self.used <= self.budget, "this is a bug: the host tier is over its budget"

    def _forget(self, ref: str) -> None:
        self._leaving.discard(ref)
        self._free(ref, self._kept.pop(ref))

    def _free(self, ref: str, footprint: Footprint) -> None:
        self._ledger.release(ref)
        self.on_free(ref)
        del self._booked[ref]
        needed = {sha256 for other in self._booked.values() for sha256, _ in other.blobs}
        orphans = [sha256 for sha256, _ in footprint.blobs if sha256 not in needed]
        dropped = [self._device.hosted.drop(sha256) for sha256 in orphans]
        self._freeing.start(asyncio.to_thread(dropped.clear))

    def _is_used(self, footprint: Footprint) -> bool:
        return any(_has(footprint, blobs) for blobs in self._in_use)


def _hashes(manifest: Manifest) -> frozenset[str]:
    return frozenset(entry.sha256 for entry in weight_files(manifest))


def _has(footprint: Footprint, blobs: frozenset[str]) -> bool:
    return any(sha256 in blobs for sha256, _ in footprint.blobs)
