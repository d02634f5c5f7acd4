"""A projection of the device: what a load needs, what is resident, and what fits together. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shared.footprint import Footprint
from worker.residency.ledger import Ledger


@dataclass(frozen=True)
class LoadCandidate:
    """A model that is to be loaded. `group_max`: models of its `group` that may be on the device
    (0: no limit). `trial`: no caller waits for it, it is a version newer than the one that serves.

    With an empty `ref` (and priority 0) memory is freed without loading a model: other processes
    took it, or a batch needs it.
    """

    ref: str
    footprint: Footprint
    priority: int = 5
    group: str = ""
    group_max: int = 0
    trial: bool = False


@dataclass(frozen=True, kw_only=True)
class Resident:
    """A copy on the device. Times in seconds of the clock of the plan. `reload_s`: what loading it
    again takes. `surplus`: other live workers hold the model too. `bytes`: what the copy takes,
    shared blobs divided among their holders; `plan` fills it in."""

    ref: str
    last_used: float
    loaded_at: float = 0.0
    busy: bool = False
    pinned: bool = False
    priority: int = 5
    reload_s: float = 0.0
    min_residency_s: float = 0.0
    group: str = ""
    surplus: bool = False
    bytes: int = 0


def models_are(count: int) -> str:
    """The beginning of a sentence: `1 model is`, `3 models are`."""
    return "1 model is" if count == 1 else f"{count} models are"


class Projection:
    """Bytes, models, and models of the candidate's group, with the candidate and without the
    copies that were dropped. The ledger itself is not changed."""

    def __init__(
        self, ledger: Ledger, candidate: LoadCandidate, residents: Iterable[Resident],
        max_models: int,
    ) -> None:  # fmt: skip
        self._entries = {ref: e for ref, e in ledger.entries.items() if ref != candidate.ref}
        self._tally = ledger.tally()
        if candidate.ref in ledger.entries:
            self._tally.remove(ledger.entries[candidate.ref])
        before = self._tally.bytes
        self._free = max(0, ledger.budget - before)
        self._tally.add(candidate.footprint)
        self._needs = self._tally.bytes - before
        self._budget = ledger.budget
        self._full = self._tally.bytes
        self._candidate = candidate
        self._max_models = max_models
        self.others = len(self._entries)
        self._models = self.others + bool(candidate.ref)
        same = {r.ref for r in residents if r.group == candidate.group}
        self._group = (same | ledger.in_group(candidate.group)) - {candidate.ref}
        self._of_group = len(self._group) + 1

    def drop(self, ref: str) -> None:
        """Project the device without this copy."""
        if ref in self._entries:
            self._tally.remove(self._entries[ref])
            self._models -= 1
        self._of_group -= ref in self._group

    def restore(self, ref: str) -> None:
        """Project the device with a copy that was dropped."""
        if ref in self._entries:
            self._tally.add(self._entries[ref])
            self._models += 1
        self._of_group += ref in self._group

    @property
    def fits(self) -> bool:
        """Whether the candidate fits."""
        return not (self._over_budget or self._over_max_models or self._over_group_max)

    @property
    def shortfall(self) -> str:
        """The limit that is exceeded, with figures, for people."""
        if self._over_budget:
            freed = self._full - self._tally.bytes
            more = f" and {freed} can be freed" if freed else ""
            return f"needs {self._needs} bytes, {self._free} are free{more}"
        if self._over_max_models:
            return f"{models_are(self.others)} here, at most {self._max_models} may be"
        here, most = models_are(len(self._group)), self._candidate.group_max
        return f"of group {self._candidate.group} {here} here, at most {most} may be"

    @property
    def _over_budget(self) -> bool:
        return self._tally.bytes > self._budget

    @property
    def _over_max_models(self) -> bool:
        return 0 < self._max_models < self._models

    @property
    def _over_group_max(self) -> bool:
        return bool(self._candidate.group) and 0 < self._candidate.group_max < self._of_group
