"""The byte ledger of a worker: what is reserved and resident on its device. Pure bookkeeping.

A blob that several copies share counts once. Always: reserved + resident <= budget. A budget can
shrink while it is in use, because other processes take memory of the device: then what is here may
be over it, and no reservation or correction makes that worse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.manifest import Manifest

# Formats whose weights are attached from blobs and so can be shared between copies.
SHARES_BLOBS = frozenset({"pytorch_program", "pytorch_architecture"})
# Their one file is such a blob, once it has been opened.
SHARES_FILES = frozenset({"pytorch_pt2"})
WEIGHTS = "weights/"


def shares(manifest: Manifest) -> bool:
    """Whether copies of this format have anything in common with others."""
    return manifest.platform in SHARES_BLOBS | SHARES_FILES


@dataclass(frozen=True)
class Footprint:
    """What a copy takes: shareable blobs (hash, bytes), and bytes of its own."""

    blobs: frozenset[tuple[str, int]]
    own: int

    @property
    def total(self) -> int:
        """Bytes if nobody shared its blobs."""
        return self.own + sum(size for _, size in self.blobs)

    def at_least(self, least: int) -> Footprint:
        """The footprint of a copy that was promised `least` bytes: these are its own, whoever
        shares its blobs. One that takes more anyway stays as it is."""
        return self if self.total >= least else Footprint(frozenset(), least)


def predict(manifest: Manifest, own: int | None = None) -> Footprint:
    """The footprint before the load. `own`: own bytes as learned on a device of this class.

    Before the first load the manifest alone tells: a program's or architecture's weights are its
    blobs, and of every other format the files count whole (they hold the weights, in their headers
    or otherwise, so their sizes are what there is to go by). What is measured corrects it.
    """
    if manifest.platform in SHARES_BLOBS:
        return Footprint(_blobs(manifest, WEIGHTS), own or 0)
    if own is None:
        return Footprint(frozenset(), manifest.total_bytes)
    return Footprint(_blobs(manifest) if manifest.platform in SHARES_FILES else frozenset(), own)


def _blobs(manifest: Manifest, prefix: str = "") -> frozenset[tuple[str, int]]:
    return frozenset((f.sha256, f.size) for f in manifest.files if f.name.startswith(prefix))


class Tally:
    """Bytes of some copies together, shared blobs once, kept while copies come and go.

    A blob may be of one size in a manifest and of another in memory: it counts as the largest that
    any holder said, for as long as it has holders."""

    def __init__(self, footprints: Iterable[Footprint] = ()) -> None:
        self.bytes = 0
        self._sizes: dict[str, int] = {}
        self._holders: dict[str, int] = {}
        for footprint in footprints:
            self.add(footprint)

    def copy(self) -> Tally:
        """One that goes its own way."""
        other = Tally()
        other.bytes = self.bytes
        other._sizes, other._holders = self._sizes.copy(), self._holders.copy()
        return other

    def add(self, footprint: Footprint) -> None:
        """A copy comes."""
        self.bytes += footprint.own
        for sha256, size in footprint.blobs:
            more = size - self._sizes.get(sha256, 0)
            if more > 0:
                self._sizes[sha256] = size
                self.bytes += more
            self._holders[sha256] = self._holders.get(sha256, 0) + 1

    def remove(self, footprint: Footprint) -> None:
        """A copy that was added goes."""
        self.bytes -= footprint.own
        for sha256, _ in footprint.blobs:
            left = self._holders[sha256] - 1
            if left:
                self._holders[sha256] = left
            else:
                del self._holders[sha256]
                self.bytes -= self._sizes.pop(sha256, 0)

    def size(self, sha256: str) -> int:
        """Bytes of a blob, 0 if nobody holds it."""
        return self._sizes.get(sha256, 0)

    def share(self, footprint: Footprint) -> int:
        """Bytes of a copy in the tally, its blobs in equal parts among who holds them."""
        parts = (self._sizes.get(s, 0) // self._holders[s] for s, _ in footprint.blobs)
        return footprint.own + sum(parts)


def union_bytes(footprints: Iterable[Footprint]) -> int:
    """Bytes of several copies together, shared blobs once."""
    return Tally(footprints).bytes


class Ledger:
    """Entries by model reference; a reservation is an entry made before the load starts. `group`:
    the affinity key of a model, '' if it has none. All sizes in bytes.

    The heart's thread asks what is used: the mapping is never changed, but replaced."""

    def __init__(self, budget: int) -> None:
        self._budget = self.whole = budget
        self._used = 0
        self._tally = Tally()
        self._entries: dict[str, Footprint] = {}
        self._groups: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def budget(self) -> int:
        """What may be used now. It may be set while in use; `whole` is the most it ever was."""
        return self._budget

    @budget.setter
    def budget(self, budget: int) -> None:
        self._budget = budget
        self.whole = max(self.whole, budget)

    @property
    def used(self) -> int:
        """Reserved and resident bytes."""
        return self._used

    @property
    def over(self) -> int:
        """Bytes over a budget that shrank."""
        return max(0, self._used - self._budget)

    @property
    def entries(self) -> Mapping[str, Footprint]:
        """All that is reserved or resident."""
        return self._entries

    def used_with(self, footprint: Footprint, without: Iterable[str] = ()) -> int:
        """Bytes if `footprint` came and `without` went."""
        tally = self._tally.copy()
        for ref in {*without} & self._entries.keys():
            tally.remove(self._entries[ref])
        tally.add(footprint)
        return tally.bytes

    def tally(self) -> Tally:
        """All entries together, to try what would be with and without some."""
        return self._tally.copy()

    def shares(self) -> dict[str, int]:
        """Bytes of each entry, its blobs in equal parts among who holds them."""
        return {ref: self._tally.share(footprint) for ref, footprint in self._entries.items()}

    def get(self, ref: str) -> Footprint | None:
        """What is reserved or resident for `ref`."""
        return self._entries.get(ref)

    def in_group(self, group: str) -> set[str]:
        """The models of one group that are reserved or resident."""
        return {ref for ref, of in self._groups.items() if of == group}

    def reserve(self, ref: str, footprint: Footprint, group: str = "") -> None:
        """Set bytes aside for a load. The caller has made room: going over budget is a bug."""
        fits = self._would_fit(ref, footprint)
        assert fits, "this is a bug: reserved over the budget"
        self._replace(ref, footprint)
        self._groups[ref] = group

    def correct(self, ref: str, footprint: Footprint) -> bool:
        """Replace a prediction by what was measured; False if that does not fit the budget."""
        fits = self._would_fit(ref, footprint)
        if fits:
            self._replace(ref, footprint)
        return fits

    def release(self, ref: str) -> None:
        """Forget what was freed or never loaded."""
        self._replace(ref, None)
        self._groups.pop(ref, None)

    def _would_fit(self, ref: str, footprint: Footprint) -> bool:
        return self.used_with(footprint, [ref]) <= max(self._budget, self._used)

    def _replace(self, ref: str, footprint: Footprint | None) -> None:
        entries = dict(self._entries)
        before = entries.pop(ref, None)
        if before is not None:
            self._tally.remove(before)
        if footprint is not None:
            self._tally.add(footprint)
            entries[ref] = footprint
        self._entries, self._used = entries, self._tally.bytes
