"""The host tier of a worker: models whose weights stay in host memory, ready for a quick load.

What a model keeps are its weights blobs; those that several models share are kept, and count, once.
The one kept or promoted longest ago goes first. Only code of the event loop calls this; reading
and freeing run on threads. Always: used <= budget.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared.errors import WarmrouteError
from shared.manifest import FileEntry, Manifest
from worker.device.base import Device
from worker.residency.ledger import SHARES_BLOBS, WEIGHTS, Footprint, Ledger

log = logging.getLogger(__name__)


class HostTier:
    """Which models are kept in host memory, within `budget` bytes (0: none)."""

    def __init__(self, budget: int, device: Device) -> None:
        self._device = device
        self._ledger = Ledger(budget)
        self._booked: dict[str, Footprint] = {}  # what the ledger has
        self._kept: dict[str, Footprint] = {}  # of these what is here; least recently kept first
        self._keeping: dict[str, asyncio.Task[bool]] = {}
        self._leaving: set[str] = set()
        self._in_use: list[frozenset[str]] = []
        self._freeing: set[asyncio.Task[None]] = set()

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
        """Whether the model's weights are here, all of them."""
        return ref in self._kept and ref not in self._leaving

    def missing(self, manifest: Manifest) -> list[FileEntry]:
        """The files that a load needs on disk. Hold the rest here meanwhile: `promoting`."""
        kept = {sha256 for footprint in self._kept.values() for sha256, _ in footprint.blobs}
        here = kept & _weights(manifest)
        return [entry for entry in manifest.files if entry.sha256 not in here]

    @contextmanager
    def promoting(self, manifest: Manifest) -> Iterator[list[FileEntry]]:
        """While a load runs: what it takes from here stays. Gives what `missing` says."""
        blobs = _weights(manifest)
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
        """Whether there is room, or older models could make it."""
        return manifest.platform in SHARES_BLOBS and (
            self._victims(_footprint(manifest)) is not None
        )

    async def keep(self, ref: str, manifest: Manifest, files: Mapping[str, Path]) -> bool:
        """Keep the model's weights, from `files` (by the names in the manifest) where they are not
        here yet. Older models make room. False if they cannot: it is too large, others are in use,
        there is no memory, a file is not to be had, or its format has no weights of their own.
        """
        if manifest.platform not in SHARES_BLOBS or ref in self._leaving:
            return False
        if ref in self._kept:
            self._kept[ref] = self._kept.pop(ref)
            return True
        if ref not in self._keeping:
            footprint = _footprint(manifest)
            victims = self._victims(footprint)
            if victims is None:
                return False
            for victim in victims:
                self._forget(victim)
            self._reserve(ref, footprint)
            task = asyncio.create_task(self._bring_in(ref, footprint, manifest, files))
            self._keeping[ref] = task
            task.add_done_callback(lambda _: self._keeping.pop(ref, None))
        # The thread that reads cannot be stopped, so neither can what books its bytes.
        return await asyncio.shield(self._keeping[ref])

    def drop(self, ref: str) -> None:
        """Keep the model no longer. If a load takes from it, or it is still being read, it goes
        right after that; it is not held from now on either way."""
        if ref in self._keeping or (ref in self._kept and self._is_used(self._kept[ref])):
            self._leaving.add(ref)
            return
        self._leaving.discard(ref)
        if ref in self._kept:
            self._forget(ref)

    async def close(self) -> None:
        """Wait for what is being read and freed."""
        while pending := [*self._keeping.values(), *self._freeing]:
            await asyncio.wait(pending)
            await asyncio.sleep(0)  # their callbacks

    def _victims(self, wanted: Footprint) -> list[str] | None:
        """Whom to drop so that `wanted` fits, and nobody in vain; None if that is not enough."""
        chosen: list[str] = []
        free = (ref for ref, footprint in self._kept.items() if not self._is_used(footprint))
        while self._ledger.used_with(wanted, chosen) > self.budget:
            ref = next(free, None)
            if ref is None:
                return None
            chosen.append(ref)
        for ref in reversed(chosen):
            spared = [other for other in chosen if other != ref]
            if self._ledger.used_with(wanted, spared) <= self.budget:
                chosen = spared
        return chosen

    async def _bring_in(
        self, ref: str, footprint: Footprint, manifest: Manifest, files: Mapping[str, Path]
    ) -> bool:
        while self._freeing:  # what was dropped for this is still in memory until then
            await asyncio.wait(set(self._freeing))
            await asyncio.sleep(0)
        try:
            await asyncio.to_thread(self._read, _blobs(manifest), files)
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
        del self._booked[ref]
        needed = {sha256 for other in self._booked.values() for sha256, _ in other.blobs}
        orphans = [sha256 for sha256, _ in footprint.blobs if sha256 not in needed]
        gone = [self._device.hosted.drop(sha256) for sha256 in orphans]
        task = asyncio.create_task(asyncio.to_thread(gone.clear))
        self._freeing.add(task)
        task.add_done_callback(self._freeing.discard)

    def _is_used(self, footprint: Footprint) -> bool:
        return any(_has(footprint, blobs) for blobs in self._in_use)


def _blobs(manifest: Manifest) -> list[FileEntry]:
    return [entry for entry in manifest.files if entry.name.startswith(WEIGHTS)]


def _weights(manifest: Manifest) -> frozenset[str]:
    return frozenset(entry.sha256 for entry in _blobs(manifest))


def _footprint(manifest: Manifest) -> Footprint:
    return Footprint(frozenset((entry.sha256, entry.size) for entry in _blobs(manifest)), 0)


def _has(footprint: Footprint, blobs: frozenset[str]) -> bool:
    return any(sha256 in blobs for sha256, _ in footprint.blobs)
