"""The ledger in figures for people: per copy its own bytes, its shared bytes, and the number of
copies that share them. Pure.

own bytes of all copies + shared bytes, once + reserved = used
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from shared.footprint import Footprint
from shared.worker_report import CopyBytes
from worker.device.base import Device
from worker.residency.copies import Copies
from worker.residency.ledger import Ledger, Tally


class Account(NamedTuple):
    """All bytes in use. `shared`: of blobs that several copies hold, each once; `reserved`: in use
    beside the copies that serve, by copies that are being loaded or are retiring."""

    used: int
    shared: int
    reserved: int
    parts: dict[str, CopyBytes]


def account(entries: Mapping[str, Footprint], held: Collection[str]) -> Account:
    """The account of a ledger's `entries`, of which those of `held` serve."""
    serving = {ref: entries[ref] for ref in held if ref in entries}
    holders: dict[str, set[str]] = {}
    for ref, footprint in serving.items():
        for sha256, _ in footprint.blobs:
            holders.setdefault(sha256, set()).add(ref)
    tally = Tally(serving.values())
    parts = {ref: _bytes_of(ref, footprint, holders, tally) for ref, footprint in serving.items()}
    shared = sum(tally.size(sha256) for sha256, refs in holders.items() if len(refs) > 1)
    used = Tally(entries.values()).bytes
    return Account(used, shared, used - tally.bytes, parts)


def _bytes_of(
    ref: str, footprint: Footprint, holders: Mapping[str, set[str]], tally: Tally
) -> CopyBytes:
    own, shared, others = footprint.own, 0, set[str]()
    for sha256, _ in footprint.blobs:
        if len(holders[sha256]) > 1:
            shared += tally.size(sha256)
            others |= holders[sha256]
        else:
            own += tally.size(sha256)
    return CopyBytes(own, shared, len(others - {ref}))


class Bookkeeper:
    """The account of one worker, computed again only when a copy was added, changed or removed.
    Read by the heartbeat's thread: the mappings of the ledger and the copies are never changed, but
    replaced."""

    def __init__(self, ledger: Ledger, copies: Copies) -> None:
        self._ledger = ledger
        self._copies = copies
        self._entries: Mapping[str, Footprint] = {}
        self._held: list[str] = []
        self._account = account({}, [])

    def settled(self) -> bool:
        """Whether models are loaded and no load is under way."""
        return 0 < len(self._copies.all()) == len(self._ledger)

    def allocated(self, device: Device, inflight_bytes: int) -> int:
        """Bytes of `device.allocated()` that are accounted for. On a CPU mapped blobs are not among
        them, but the bytes of requests are."""
        if device.kind == "cuda":
            return self._ledger.used
        own = sum(copy.model.bytes_resident for copy in self._copies.all())
        return own + inflight_bytes

    def account(self) -> Account:
        """The current account."""
        entries, held = self._ledger.entries, list(self._copies.held())
        if entries is not self._entries or held != self._held:
            self._account = account(entries, held)
            self._entries, self._held = entries, held
        return self._account
