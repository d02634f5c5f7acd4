"""A worker's part of its host: memory and disk, divided by the workers that are there. Bytes.

Models of CPU workers and weights that GPU workers keep in host memory come out of one pool, half of
the memory that a level (`cgroup.py`) has; the other half is a reserve for calls, requests, the
processes themselves and the system. Users share a pool equally, and the workers of a user in
proportion to what each would take alone. Explicit settings are taken as they are, and the others
share what these leave. So all parts together are never more than the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worker.device.cgroup import MACHINE, Level
from worker.device.host_registry import Claims, Peer

POOL = 0.5  # of a level's memory, for automatic budgets
MOST = 0.8  # of it, for all budgets: explicit ones leave a reserve too
MOST_OF_DISK = 0.9  # of a file system, for the weight caches on it
DISK_RESERVE = 1 << 30  # of its free bytes, or half of them


@dataclass(frozen=True)
class Host:
    """What a worker shares, and with which others. `user`: of this worker."""

    user: int
    mine: Claims
    peers: Sequence[Peer] = ()

    def memory_part(self, levels: Sequence[Level]) -> int:
        """Bytes of host memory for this worker's automatic budget."""
        return min((self._part_of(level) for level in levels), default=0)

    def _part_of(self, level: Level) -> int:
        users = 1 + len({p.user for p in self._others(level.identity)})
        ours = self._ours(level.identity)
        usable = max(0, level.limit // users - sum(claims.overhead for claims in ours))
        fixed, wishes = sum(c.fixed for c in ours), sum(c.wish for c in ours)
        pool = max(0, min(int(usable * POOL), int(usable * MOST) - fixed))
        alone = int(usable * self.mine.wish)
        return min(alone, int(pool * self.mine.wish / wishes)) if wishes else 0

    def disk_part(self, most: int, total: int, free: int, used: int) -> int:
        """Bytes for this worker's cache folder, at most `most`. `total` and `free` of its file
        system, `used` by the folder now. The workers of one folder share one budget."""
        others = {p.claims.root for p in self.peers if p.claims.disk == self.mine.disk}
        folders = 1 + len(others - {self.mine.root})
        # What is free now is divided; what a folder has filled is its own.
        left = free - min(DISK_RESERVE, free // 2)
        return min(most, int(total * MOST_OF_DISK) // folders, used + left // folders)

    def misfit(self, levels: Sequence[Level], disk_total: int) -> str:
        """Why the explicit budgets of this user's workers cannot fit here; '' if they do."""
        for level in sorted(levels, key=lambda level: level.limit):
            ours = self._ours(level.identity)
            fixed, overhead = sum(c.fixed for c in ours), sum(c.overhead for c in ours)
            if self.mine.fixed and fixed + overhead > level.limit:
                return (
                    f"the budgets of {_workers(len(ours))} here are {_mb(fixed)}, and their "
                    f"processes take {_mb(overhead)} beside their models, but this "
                    f"{'host' if level.identity == MACHINE else 'control group'} has "
                    f"{_mb(level.limit)}: lower WARMROUTE_MEMORY_BYTES or "
                    "WARMROUTE_HOST_MEMORY_BYTES, or leave them 0"
                )
        return self._disk_misfit(disk_total)

    def _disk_misfit(self, total: int) -> str:
        mine = [self.mine, *(p.claims for p in self.peers if p.user == self.user)]
        roots: dict[str, int] = {}
        for claims in mine:
            if claims.disk == self.mine.disk:
                roots[claims.root] = max(roots.get(claims.root, 0), claims.disk_fixed)
        if self.mine.disk_fixed and sum(roots.values()) > total:
            return (
                f"WARMROUTE_DISK_CACHE_BYTES: the caches on this file system may take "
                f"{_mb(sum(roots.values()))}, but it has {_mb(total)}"
            )
        return ""

    def _ours(self, level: str) -> list[Claims]:
        """The claims of this user's workers on a level, its own first."""
        peers = (p.claims for p in self.peers if p.user == self.user and level in p.claims.levels)
        return [self.mine, *peers]

    def _others(self, level: str) -> list[Peer]:
        return [p for p in self.peers if p.user != self.user and level in p.claims.levels]


def _workers(count: int) -> str:
    return "the one worker" if count == 1 else f"the {count} workers"


def _mb(size: int) -> str:
    return f"{size // 1_000_000} MB"
