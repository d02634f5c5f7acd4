"""The models of a chaos run: more than fit in memory, and one that crashes when told to."""

from __future__ import annotations

import itertools
import random
from bisect import bisect
from dataclasses import dataclass
from pathlib import Path

from shared.repository import Repository
from tests.helpers.fragile import publish_fragile
from tests.helpers.models import Mlp, Slow, publish_mlp, publish_slow

WIDE_ROWS = 2304  # 144 KiB of input: such tensors of waiting callers travel in shared memory


@dataclass(frozen=True)
class Zoo:
    """All models of a run."""

    plain: list[Mlp]
    fragile: Mlp
    wide: Mlp
    slow: Slow

    def choose(self, dice: random.Random) -> Mlp:
        """A plain one; a few are asked for often, most now and then (Zipf, exponent 1)."""
        return self.plain[bisect(self._shares(), dice.random() * self._shares()[-1])]

    def _shares(self) -> list[float]:
        return list(itertools.accumulate(1 / rank for rank in range(1, len(self.plain) + 1)))


def publish_zoo(repository: Repository, folder: Path, *, count: int, size: int) -> Zoo:
    """Publish `count` plain models of about `size` bytes each, and the special ones."""
    return Zoo(
        plain=[publish_mlp(repository, folder, size=size) for _ in range(count)],
        fragile=publish_fragile(repository, folder, "fragile", max_size=8),
        wide=publish_fragile(repository, folder, "wide", max_size=2 * WIDE_ROWS),
        slow=publish_slow(repository, folder),
    )
