"""The model copies on this worker's device, and who uses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from shared import clock
from shared.manifest import Manifest
from shared.policy import Policy
from shared.worker_report import CopyUse
from worker.residency.candidates import Resident
from worker.residency.ledger import Footprint
from worker.runtimes.base import LoadedModel


class Kept(NamedTuple):
    """What a call has left allocated: live bytes before it, and how many more it were after."""

    before: int
    size: int


@dataclass
class Copy:
    """One resident model. `retiring`: takes no new requests and is freed once it is idle. Times in
    seconds of `clock.monotonic`. `load_s` is what loading it took. `stays_until`: a script said
    that it must stay; asked again after that. `surplus`: other workers hold it too. `wanted`: by a
    session, so the last copy stays. `check_at`: when a batch of it is to be checked next;
    `checks`: how often that was done. `unproved`: no rows that it takes were known at its load.
    `largest`: bytes of the inputs of its largest call that was measured, which left `kept`.
    `announcing`: the map may be told of it at any moment, so it must not leave before."""

    ref: str
    manifest: Manifest
    model: LoadedModel
    footprint: Footprint
    policy: Policy = field(default_factory=Policy)
    load_s: float = 0.0
    loaded_at: float = field(default_factory=clock.monotonic)
    last_used: float = field(default_factory=clock.monotonic)
    running: int = 0
    retiring: bool = False
    announcing: bool = False
    stays_until: float = 0.0
    surplus: bool = False
    wanted: bool = False
    check_at: float = 0.0
    checks: int = 0
    unproved: bool = False
    largest: int = 0
    kept: Kept | None = None

    @property
    def must_stay(self) -> bool:
        """Whether it is pinned, as far as is known here: by its policy, or as a session's only."""
        return self.policy.pin or (self.wanted and not self.surplus)

    @property
    def group(self) -> str:
        return self.policy.affinity.key if self.policy.affinity else ""


class Copies:
    """Copies by reference. The heart's thread reads while the event loop adds and removes: so the
    mapping is never changed, but replaced."""

    def __init__(
        self, used: Callable[[str, float, int], object] = lambda ref, now, n: None
    ) -> None:
        self._copies: dict[str, Copy] = {}
        self._used = used  # told of each batch: ref, now, requests

    def add(self, copy: Copy) -> None:
        """A model is loaded."""
        self._copies = {**self._copies, copy.ref: copy}

    def announced(self, ref: str) -> None:
        """What was said of it to the map has been heard, or is not said any more."""
        if copy := self.get(ref):
            copy.announcing = False

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

    def report(self, hits: Callable[[str], int]) -> dict[str, CopyUse]:
        """For people: per model its tier, bytes, ms since its last use, and requests served."""
        now = clock.monotonic()
        return {
            ref: CopyUse("device", c.footprint.total, round((now - c.last_used) * 1000), hits(ref))
            for ref, c in self._copies.items()
        }

    def hold(self, ref: str, requests: int = 1) -> Copy:
        """A batch was taken from the copy's queue: it is not freed until `let_go`."""
        copy = self._copies[ref]
        copy.running += 1
        self._used(ref, clock.monotonic(), requests)
        return copy

    @staticmethod
    def let_go(copy: Copy) -> None:
        """The batch has ended; the copy counts as used just now."""
        copy.running -= 1
        copy.last_used = clock.monotonic()

    def retire_all(self) -> list[str]:
        """Mark every copy as retiring; those that were not."""
        held = list(self.held())
        for ref in held:
            self._copies[ref].retiring = True
        return held


def resident(copy: Copy, now: float, busy: bool, min_residency_s: float) -> Resident:
    """What the plan needs to know of a copy. `min_residency_s`: this worker's own rule, in loads of
    the copy (what it took to load must pay first)."""
    given = copy.policy.min_residency_s
    return Resident(
        ref=copy.ref,
        priority=copy.policy.priority,
        pinned=copy.must_stay or copy.stays_until > now,
        busy=busy,
        loaded_at=copy.loaded_at,
        last_used=copy.last_used,
        reload_s=copy.load_s,
        min_residency_s=given if given >= 0 else min_residency_s * copy.load_s,
        group=copy.group,
        surplus=copy.surplus,
    )
