"""Which blobs are in use, here and in the host's other processes, and so which may go."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from shared.repository.disk import disk_errors
from worker.weight_cache.files import CACHE, CachedFile
from worker.weight_cache.host_locks import HostLocks


class Pins:
    """Counts uses in this process and shows them to the others through `locks`."""

    def __init__(self, locks: HostLocks) -> None:
        self._locks = locks
        self._mutex = threading.Lock()  # held for microseconds: event loops take it
        self._counts: Counter[str] = Counter()

    def add(self, hashes: Iterable[str]) -> None:
        """Keep these blobs, present or to come, from being evicted by any process."""
        with self._mutex, disk_errors(CACHE):
            for sha256 in hashes:
                if not self._counts[sha256]:
                    self._locks.use(sha256)
                self._counts[sha256] += 1

    def remove(self, hashes: Iterable[str]) -> None:
        """Undo one `add` of each; ValueError if there was none."""
        with self._mutex, disk_errors(CACHE):
            for sha256 in hashes:
                if not self._counts[sha256]:
                    raise ValueError(f"blob {sha256[:12]} is not pinned. This is a bug.")
                self._counts[sha256] -= 1
                if not self._counts[sha256]:
                    del self._counts[sha256]
                    self._locks.end_use(sha256)

    def evict(
        self,
        by_last_use: Sequence[CachedFile],
        excess: int,
        set_aside: Callable[[str], Path],
    ) -> list[Path] | None:
        """Set aside the least recently used until `excess` bytes may go; None, and nothing
        touched, if too few may. Nobody can pin a blob between the choice and the deed."""
        with self._mutex:
            victims = choose_victims(by_last_use, excess, self._may_go)
            try:
                if sum(victim.size for victim in victims) < excess:
                    return None
                return [set_aside(victim.name) for victim in victims]
            finally:
                for victim in victims:
                    self._locks.end_use(victim.name)

    def _may_go(self, sha256: str) -> bool:
        return not self._counts[sha256] and self._locks.try_evict(sha256)


def choose_victims(
    by_last_use: Sequence[CachedFile], excess: int, may_go: Callable[[str], bool]
) -> list[CachedFile]:
    """The first of `by_last_use` that may go, until `excess` bytes are covered or none is left.

    `may_go` is asked only while more is needed, as a yes may take a lock.
    """
    victims: list[CachedFile] = []
    for file in by_last_use:
        if excess <= 0:
            break
        if may_go(file.name):
            victims.append(file)
            excess -= file.size
    return victims
