"""The byte ledger of a worker: what is reserved and resident on its device. Pure bookkeeping.

A blob that several copies share counts once. Always: reserved + resident <= budget.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shared.manifest import Manifest

# Formats whose weights are attached from blobs and so can be shared between copies.
SHARES_BLOBS = frozenset({"pytorch_program", "pytorch_architecture"})
WEIGHTS = "weights/"


@dataclass(frozen=True)
class Footprint:
    """What a copy takes: shareable blobs by digest, and bytes of its own."""

    blobs: frozenset[tuple[str, int]]
    own: int

    @property
    def total(self) -> int:
        return self.own + sum(size for _, size in self.blobs)


def predict(manifest: Manifest) -> Footprint:
    """The footprint before the first load, from the manifest alone."""
    if manifest.platform not in SHARES_BLOBS:
        return Footprint(frozenset(), manifest.total_bytes)
    weights = frozenset((f.sha256, f.size) for f in manifest.files if f.name.startswith(WEIGHTS))
    return Footprint(weights, 0)


def union_bytes(footprints: Iterable[Footprint]) -> int:
    """Bytes of several copies together, shared blobs once."""
    blobs: dict[str, int] = {}
    own = 0
    for footprint in footprints:
        own += footprint.own
        blobs.update(footprint.blobs)
    return own + sum(blobs.values())


class Ledger:
    """Entries by model reference; a reservation is an entry made before the load starts.

    The heart's thread asks what is used: the mapping is never changed, but replaced."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._entries: dict[str, Footprint] = {}

    @property
    def used(self) -> int:
        """Reserved and resident bytes."""
        return union_bytes(self._entries.values())

    def used_with(self, footprint: Footprint, without: Iterable[str] = ()) -> int:
        """Bytes if `footprint` came and `without` went."""
        gone = set(without)
        kept = [entry for ref, entry in self._entries.items() if ref not in gone]
        return union_bytes([*kept, footprint])

    def get(self, ref: str) -> Footprint | None:
        """What is reserved or resident for `ref`."""
        return self._entries.get(ref)

    def reserve(self, ref: str, footprint: Footprint) -> None:
        """Set bytes aside for a load. The caller has made room: going over budget is a bug."""
        assert self.used_with(footprint) <= self.budget, "this is a bug: reserved over the budget"
        self._entries = {**self._entries, ref: footprint}

    def correct(self, ref: str, footprint: Footprint) -> bool:
        """Replace a prediction by what was measured; False if that does not fit the budget."""
        fits = self.used_with(footprint, [ref]) <= self.budget
        if fits:
            self._entries = {**self._entries, ref: footprint}
        return fits

    def release(self, ref: str) -> None:
        """Forget what was freed or never loaded."""
        self._entries = {r: entry for r, entry in self._entries.items() if r != ref}
