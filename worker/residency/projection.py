"""What would be on the device with a newcomer, and without those who go for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from worker.residency.ledger import Ledger

if TYPE_CHECKING:
    from worker.residency.candidates import Resident, Wanted


def models_are(count: int) -> str:
    """The begin of a sentence."""
    return "1 model is" if count == 1 else f"{count} models are"


class Projection:
    """Bytes, models, and models of the newcomer's group: with the newcomer, so far without those
    who were dropped. The ledger itself is not changed."""

    def __init__(
        self, ledger: Ledger, wanted: Wanted, residents: Iterable[Resident], max_models: int
    ) -> None:
        self._entries = {ref: e for ref, e in ledger.entries.items() if ref != wanted.ref}
        self._tally = ledger.tally()
        if wanted.ref in ledger.entries:
            self._tally.remove(ledger.entries[wanted.ref])
        before = self._tally.bytes
        self._free = max(0, ledger.budget - before)
        self._tally.add(wanted.footprint)
        self._needs = self._tally.bytes - before
        self._budget = ledger.budget
        self._full = self._tally.bytes
        self._wanted = wanted
        self._max_models = max_models
        self.others = len(self._entries)
        self._models = self.others + bool(wanted.ref)
        same = {r.ref for r in residents if r.group == wanted.group}
        self._group = (same | ledger.in_group(wanted.group)) - {wanted.ref}
        self._of_group = len(self._group) + 1

    def drop(self, ref: str) -> None:
        """Without this one."""
        if ref in self._entries:
            self._tally.remove(self._entries[ref])
            self._models -= 1
        self._of_group -= ref in self._group

    def restore(self, ref: str) -> None:
        """With one that was dropped."""
        if ref in self._entries:
            self._tally.add(self._entries[ref])
            self._models += 1
        self._of_group += ref in self._group

    @property
    def fits(self) -> bool:
        """Whether the newcomer has its room."""
        return not (self._bytes_lack or self._models_lack or self._group_lacks)

    @property
    def lack(self) -> str:
        """What there is too little of, with figures, for people."""
        if self._bytes_lack:
            freed = self._full - self._tally.bytes
            more = f" and {freed} can be freed" if freed else ""
            return f"needs {self._needs} bytes, {self._free} are free{more}"
        if self._models_lack:
            return f"{models_are(self.others)} here, at most {self._max_models} may be"
        here, most = models_are(len(self._group)), self._wanted.group_max
        return f"of group {self._wanted.group} {here} here, at most {most} may be"

    @property
    def _bytes_lack(self) -> bool:
        return self._tally.bytes > self._budget

    @property
    def _models_lack(self) -> bool:
        return 0 < self._max_models < self._models

    @property
    def _group_lacks(self) -> bool:
        return bool(self._wanted.group) and 0 < self._wanted.group_max < self._of_group
