"""Footprints and residents that say only what a test is about."""

from __future__ import annotations

from typing import Any

from shared.footprint import Footprint
from worker.residency.projection import Resident

BASE = ("b" * 64, 50)


def own(size: int) -> Footprint:
    """A copy that shares nothing."""
    return Footprint(frozenset(), size)


def shares(size: int) -> Footprint:
    """A variant of one base of 50 bytes, with some bytes of its own."""
    return Footprint(frozenset([BASE]), size)


def resident(ref: str, **changes: Any) -> Resident:
    """An idle copy of middle priority, here since ever."""
    return Resident(**{"ref": ref, "last_used": 0.0, **changes})
