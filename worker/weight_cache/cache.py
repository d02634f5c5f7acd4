"""The files of model versions on this host: content-addressed, verified, within a byte budget.

Several worker processes may share one root. `ensure` pins the blobs, looks for them, fetches what
is missing, verifies and names it; the steps are in the modules that it calls. Blobs of a file://
repository are copied too, not linked: a file that changes later must not change what was verified.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shared.errors import ChangedMeanwhile, Corrupt, DiskFull
from shared.manifest import FileEntry
from shared.repository.base import Repository
from shared.repository.disk import disk_errors
from worker.weight_cache.fetch import Fetch, Fetcher, WrongBytes
from worker.weight_cache.files import CACHE, CacheFiles
from worker.weight_cache.loop_thread import run_in
from worker.weight_cache.pins import HostLocks, Pins
from worker.weight_cache.space import Budget, CacheSpace, Partial

_SEAL_AFTER_S = 1.0  # the load that needed the blobs has priority over their flushing
_LOOK_AGAIN_S = 0.02  # another process does not report that it has fetched a blob

_LOG = logging.getLogger(__name__)

OnBytes = Callable[[int], None]


class BlobCache:
    """Blobs under `root`, at most `budget` bytes of them (which may depend on those that are used);
    the least recently used is evicted first.

    Use from one event loop. `fetcher` is closed with the cache.
    """

    def __init__(self, root: Path, budget: int | Budget, fetcher: Fetcher | None = None) -> None:
        self._budget: Budget = (lambda used: budget) if isinstance(budget, int) else budget
        self._files = CacheFiles(root)
        self.manifests = root / "manifests"  # of what was loaded; small, and never evicted
        with disk_errors(CACHE):
            self._locks = HostLocks(root / "locks")
        self._pins = Pins(self._locks)
        self._space = CacheSpace(self._files, self._pins, self._locks, self._budget)
        self._fetcher = fetcher or Fetcher()
        # One thread: flushing is background work and must not keep the fetcher's threads busy.
        self._sealing = ThreadPoolExecutor(1, thread_name_prefix="blob-seal")
        self._closing = threading.Event()
        self._under_way: dict[str, asyncio.Event] = {}

    @property
    def root(self) -> Path:
        """The folder that it lies in."""
        return self._files.root

    @property
    def used_bytes(self) -> int:
        """Bytes under the root, of all processes that share it. Lists the folder: some ms."""
        return self._space.used_bytes()

    async def ensure(
        self, repository: Repository, files: Sequence[FileEntry], on_bytes: OnBytes | None = None
    ) -> dict[str, Path]:
        """Have all `files` on this disk, verified: their names -> local paths, pinned.

        Each success needs one `release`. RepositoryError says what went wrong, and then nothing
        stays pinned. A blob that several callers need is fetched once. One of the wrong bytes is
        fetched again: Corrupt if the same wrong bytes come, ChangedMeanwhile if others do.
        `on_bytes(count)` is called as bytes arrive for this caller, not for blobs found here or
        fetched by another.
        """
        needed = _distinct(files)
        await run_in(None, self._renew)
        self.pin(files)
        wrong: dict[str, str] = {}
        try:
            while missing := await run_in(None, self._files.missing, list(needed.values())):
                await run_in(None, self._refuse_what_can_never_fit, needed.values())
                try:
                    await self._fetch_or_wait(repository, missing, on_bytes)
                except WrongBytes as error:
                    _refuse_twice(wrong, error)
        except BaseException:
            self._pins.remove(needed)
            raise
        return {entry.name: self._files.path(entry.sha256) for entry in files}

    async def missing(self, files: Sequence[FileEntry]) -> list[FileEntry]:
        """Those of `files` that are not on this disk now."""
        return await run_in(None, self._files.missing, list(_distinct(files).values()))

    def pin(self, files: Sequence[FileEntry]) -> None:
        """Keep blobs that are on this disk from being evicted, until as many calls of `release`."""
        self._pins.add(_distinct(files))

    def release(self, files: Sequence[FileEntry]) -> None:
        """Undo one `ensure` of the same files: once no other caller needs them they may be
        evicted."""
        self._pins.remove(_distinct(files))

    async def close(self) -> None:
        """Finish flushing and drop all pins; may be called twice. Cancel `ensure` calls before."""
        if self._closing.is_set():
            return
        self._closing.set()
        await self._fetcher.close()
        await asyncio.to_thread(self._sealing.shutdown)
        self._locks.close()

    async def _fetch_or_wait(
        self, repository: Repository, missing: list[FileEntry], on_bytes: OnBytes | None
    ) -> None:
        """Fetch those that this process does not fetch yet; if there are none, wait for one of the
        others. If that fetch fails, the caller looks again and fetches the blob itself."""
        ours = [entry for entry in missing if entry.sha256 not in self._under_way]
        if not ours:
            await self._under_way[missing[0].sha256].wait()
            return
        ended = asyncio.Event()
        self._under_way.update({entry.sha256: ended for entry in ours})
        try:
            await self._reserve_and_fetch(repository, ours, on_bytes)
        finally:
            for entry in ours:
                del self._under_way[entry.sha256]
            ended.set()

    async def _reserve_and_fetch(
        self, repository: Repository, entries: list[FileEntry], on_bytes: OnBytes | None
    ) -> None:
        partials: list[Partial] = []
        try:
            # Filled by the thread, so that a cancellation loses none of them.
            await run_in(None, lambda: partials.extend(self._space.reserve(entries)))
            if not partials:
                await asyncio.sleep(_LOOK_AGAIN_S)
                return
            fetches = await run_in(None, self._fetches, repository, partials)
            await self._fetcher.fetch(fetches, on_bytes)
            self._sealing.submit(self._seal_later, [fetch.sha256 for fetch in fetches])
        finally:
            for partial in partials:
                self._space.abandon(partial)

    def _seal_later(self, hashes: list[str]) -> None:
        self._closing.wait(_SEAL_AFTER_S)
        self._files.seal(hashes)

    def _fetches(self, repository: Repository, partials: list[Partial]) -> list[Fetch]:
        return [self._fetch_of(repository, partial) for partial in partials]

    def _fetch_of(self, repository: Repository, partial: Partial) -> Fetch:
        entry = partial.entry
        return Fetch(
            entry.name,
            entry.sha256,
            entry.size,
            repository.blob_sources(entry.sha256, entry.size),
            partial.fd,
            verified=lambda: self._space.commit(partial),
        )

    def _renew(self) -> None:
        """Make folders and the lock file anew if the cache was deleted under this worker."""
        self._files.make_folders()
        with disk_errors(CACHE):
            self._locks.renew()

    def _refuse_what_can_never_fit(self, entries: Iterable[FileEntry]) -> None:
        total = sum(entry.size for entry in entries)
        with disk_errors(CACHE):
            whole = self._budget(total)
        # Had they been here already: what a disk has free now may be different later.
        if total > whole:
            never = DiskFull(f"{CACHE}: the files have {total} bytes, the whole budget is {whole}")
            never.retryable = False  # waiting does not help
            raise never


def _refuse_twice(wrong: dict[str, str], error: WrongBytes) -> None:
    """Raise if wrong bytes have come for this blob before. Only the same ones prove that the store
    has them: others come of the way to here, or of this host."""
    before = wrong.setdefault(error.sha256, "")
    wrong[error.sha256] = error.found
    if before == error.found:
        proved = Corrupt(f"{error.message}, twice the same")
        proved.in_store = True
        raise proved from error
    if before:
        raise ChangedMeanwhile(f"{error.message}, and others came the second time") from error
    _LOG.warning("%s: it is fetched again", error.message)


def _distinct(files: Iterable[FileEntry]) -> dict[str, FileEntry]:
    """One entry for each hash; Corrupt if two disagree about the size of the same bytes."""
    found: dict[str, FileEntry] = {}
    for entry in files:
        if found.setdefault(entry.sha256, entry).size != entry.size:
            raise Corrupt(
                f"file {entry.name!r}: another file with the same sha256 has another size"
            )
    return found
