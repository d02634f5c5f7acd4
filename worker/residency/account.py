"""The ledger as people see it: what each copy has of its own, what it shares, and with
how many. Pure.

own bytes of all copies + what is shared, once + reserved = used
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from shared.worker_report import CopyBytes
from worker.residency.copies import Copies
from worker.residency.ledger import Footprint, Ledger, Tally


class Account(NamedTuple):
    """All bytes in use. `shared`: of blobs that several copies hold, each once; `reserved`: what is
    in use beside the copies that serve, by those that are loaded or on their way out."""

    used: int
    shared: int
    reserved: int
    parts: dict[str, CopyBytes]


def account(entries: Mapping[str, Footprint], held: Collection[str]) -> Account:
    """`entries` of a ledger, and which of them serve."""
    serving = {ref: entries[ref] for ref in held if ref in entries}
    holders: dict[str, set[str]] = {}
    for ref, footprint in serving.items():
        for sha256, _ in footprint.blobs:
            holders.setdefault(sha256, set()).add(ref)
    tally = Tally(serving.values())
    parts = {ref: _part(ref, footprint, holders, tally) for ref, footprint in serving.items()}
    shared = sum(tally.size(sha256) for sha256, refs in holders.items() if len(refs) > 1)
    used = Tally(entries.values()).bytes
    return Account(used, shared, used - tally.bytes, parts)


def _part(
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
    """The account of one worker, made anew only when a copy has come, changed or gone. Asked from
    the heart's thread: mappings of the ledger and the copies are never changed, but replaced."""

    def __init__(self, ledger: Ledger, copies: Copies) -> None:
        self._ledger = ledger
        self._copies = copies
        self._entries: Mapping[str, Footprint] = {}
        self._held: list[str] = []
        self._account = account({}, [])

    def account(self) -> Account:
        """As it is now."""
        entries, held = self._ledger.entries, list(self._copies.held())
        if entries is not self._entries or held != self._held:
            self._account = account(entries, held)
            self._entries, self._held = entries, held
        return self._account
