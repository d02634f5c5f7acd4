"""The model copies on this worker's device, and who uses them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from shared.manifest import Manifest
from worker.ledger import Footprint
from worker.runtimes.base import LoadedModel


@dataclass
class Copy:
    """One resident model. `retiring`: takes no new requests and is freed once it is idle."""

    ref: str
    manifest: Manifest
    model: LoadedModel
    footprint: Footprint
    last_used: float = field(default_factory=time.monotonic)
    running: int = 0
    retiring: bool = False


class Copies:
    """Copies by reference. The heart's thread reads while the event loop adds and removes: so the
    mapping is never changed, but replaced."""

    def __init__(self) -> None:
        self._copies: dict[str, Copy] = {}

    def add(self, copy: Copy) -> None:
        """A model is loaded."""
        self._copies = {**self._copies, copy.ref: copy}

    def remove(self, ref: str) -> Copy:
        """A model is about to be freed."""
        copy = self._copies[ref]
        self._copies = {other: c for other, c in self._copies.items() if other != ref}
        return copy

    def get(self, ref: str) -> Copy | None:
        """The copy of `ref`, if there is one."""
        return self._copies.get(ref)

    def held(self) -> dict[str, int]:
        """The copies that take requests, and the bytes of each (shared ones counted in each)."""
        return {r: c.footprint.total for r, c in self._copies.items() if not c.retiring}

    def hot(self) -> list[str]:
        """The copies that take requests, the last used first."""
        held = [copy for copy in self._copies.values() if not copy.retiring]
        return [c.ref for c in sorted(held, key=lambda c: c.last_used, reverse=True)]

    def all(self) -> list[Copy]:
        """Every copy, retiring ones too."""
        return list(self._copies.values())

    def hold(self, ref: str) -> Copy:
        """A batch was taken from the copy's queue: it is not freed until `let_go`."""
        copy = self._copies[ref]
        copy.running += 1
        return copy

    @staticmethod
    def let_go(copy: Copy) -> None:
        """The batch has ended; the copy counts as used just now."""
        copy.running -= 1
        copy.last_used = time.monotonic()

    def retire_all(self) -> list[str]:
        """Mark every copy as retiring; those that were not."""
        held = list(self.held())
        for ref in held:
            self._copies[ref].retiring = True
        return held
