"""What every process of ours does first."""

from __future__ import annotations

import gc
import logging

GC_ALLOCATIONS = 50_000


def prepare() -> None:
    """Logging in one form, and a garbage collector that rests: requests leave no cycles, and with
    Python's default it looks through all of the process every few dozen requests."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 20)
