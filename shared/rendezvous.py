"""Which cell a model belongs to: weighted rendezvous hashing of its name. Pure.

Every gateway computes the same order from the same cells, and keeps no table. A cell that comes
takes its share of the names from all others and moves none between them; the names of a cell that
goes are spread over the rest. A name stands for all its versions: they are in one cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from math import log

_BITS = 52  # so that (n + 0.5) / 2**_BITS is a float above 0 and below 1 for each n


def order(name: str, weights: Mapping[str, float]) -> list[str]:
    """The cells of `weights`, the one that a model belongs to first, then that of the model without
    the first, and so on. Cells get names in proportion to their weights; one of weight 0 is behind
    all others: it gets a name only if there is no other cell."""
    return sorted(weights, key=lambda cell: (-_score(cell, name, weights[cell]), cell))


def _score(cell: str, name: str, weight: float) -> float:
    """Above 0 for a positive weight: the inverse of an exponential variable of that rate, so the
    probability that it is the largest is the cell's share of all weights. Negative for 0."""
    waits = -log(_uniform(cell, name))
    return weight / waits if weight else -waits


def _uniform(cell: str, name: str) -> float:
    """A number between 0 and 1 that looks random. (The parts have no NUL, so no two pairs have the
    same text.)"""
    digest = blake2b(f"{cell}\0{name}".encode(), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> (64 - _BITS)) + 0.5) / (1 << _BITS)
