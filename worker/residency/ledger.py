"""The byte ledger of a worker: what is reserved and resident on its device. Pure bookkeeping.

A blob that several copies share counts once. Always: reserved + resident <= budget. A budget can
shrink while it is in use, because other processes take memory of the device: then the ledger may
be over it, and no reservation or correction makes that worse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shared.footprint import Footprint


class Tally:
    """The bytes of several copies together, shared blobs once, updated as copies are added and
    removed.

    A blob may have one size in a manifest and another in memory: it counts as the largest size that
    any holder named, until its last holder is removed."""

    def __init__(self, footprints: Iterable[Footprint] = ()) -> None:
        self.bytes = 0
        self._sizes: dict[str, int] = {}
        self._holders: dict[str, int] = {}
        for footprint in footprints:
            self.add(footprint)

    def copy(self) -> Tally:
        """An independent tally of the same copies."""
        other = Tally()
        other.bytes = self.bytes
        other._sizes, other._holders = self._sizes.copy(), self._holders.copy()
        return other

    def add(self, footprint: Footprint) -> None:
        """Add a copy."""
        self.bytes += footprint.own
        for sha256, size in footprint.blobs:
            more = size - self._sizes.get(sha256, 0)
            if more > 0:
                self._sizes[sha256] = size
                self.bytes += more
            self._holders[sha256] = self._holders.get(sha256, 0) + 1

    def remove(self, footprint: Footprint) -> None:
        """Remove a copy that was added."""
        self.bytes -= footprint.own
        for sha256, _ in footprint.blobs:
            left = self._holders[sha256] - 1
            if left:
                self._holders[sha256] = left
            else:
                del self._holders[sha256]
                self.bytes -= self._sizes.pop(sha256, 0)

    def size(self, sha256: str) -> int:
        """Bytes of a blob, 0 if it has no holder."""
        return self._sizes.get(sha256, 0)

    def share(self, footprint: Footprint) -> int:
        """Bytes of a copy in the tally, each blob divided equally among its holders."""
        shares = (self._sizes.get(s, 0) // self._holders[s] for s, _ in footprint.blobs)
        return footprint.own + sum(shares)


class Ledger:
    """Entries by model reference; a reservation is an entry that is made before the load starts.
    `group`: the affinity key of a model, '' if it has none. All sizes in bytes.

    The heartbeat's thread reads `used`: the mapping is never changed, but replaced."""

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
        """Bytes that may be used now. It may be set at any time; `whole` is the largest so far."""
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
    def entries(self) -> Mapping[str, Footprint]:
        """Everything that is reserved or resident."""
        return self._entries

    def used_with(self, footprint: Footprint, without: Iterable[str] = ()) -> int:
        """Bytes in use if `footprint` were added and the models of `without` removed."""
        tally = self._tally.copy()
        for ref in {*without} & self._entries.keys():
            tally.remove(self._entries[ref])
        tally.add(footprint)
        return tally.bytes

    def tally(self) -> Tally:
        """A tally of all entries, to compute the bytes with and without some of them."""
        return self._tally.copy()

    def shares(self) -> dict[str, int]:
        """Bytes of each entry, each blob divided equally among its holders."""
        return {ref: self._tally.share(footprint) for ref, footprint in self._entries.items()}

    def get(self, ref: str) -> Footprint | None:
        """What is reserved or resident for `ref`; None if nothing is."""
        return self._entries.get(ref)

    def in_group(self, group: str) -> set[str]:
        """The models of one group that are reserved or resident."""
        return {ref for ref, of in self._groups.items() if of == group}

    def reserve(self, ref: str, footprint: Footprint, group: str = "") -> None:
        """Set bytes aside for a load. The caller has freed the memory: exceeding the budget is a
        bug."""
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
        """Remove the entry of a model that was freed, or whose load failed."""
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
