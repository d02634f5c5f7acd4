"""The model copies on this worker's device, and how many batches use each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from shared import clock
from shared.footprint import Footprint
from shared.manifest import FileEntry, Manifest
from shared.policy import Policy
from shared.worker_report import CopyUse
from worker.residency.projection import Resident
from worker.runtimes.base import LoadedModel

NEVER = float("-inf")


class Retained(NamedTuple):
    """What a call left allocated: live bytes before it, and by how many bytes they grew."""

    before: int
    size: int


@dataclass
class Copy:
    """One resident model. Times in seconds of `clock.monotonic`.

    `load_s`: what loading it took. `retiring`: it takes no new requests and is freed once it is
    idle. `announcing`: an announcement is under way, so it must not be retired before that ends.
    `stays_until`: a script refused to retire it; it is not asked again before. `surplus`: other
    workers hold the model too. `in_session`: a session needs it, so the last copy stays.
    `check_at`: when a batch of it is checked next, `checks`: how often that was done. `unproved`:
    at its load no inputs were known that the model accepts. `largest`: input bytes of the largest
    call that was measured; `retained`: what that call left allocated. `peak`: what its calls
    are known to take beyond what they may; `excess`: as much of that as the footprint counts;
    `last`: no other worker is left on which more of it would fit. `mapped`: files that stay pinned
    in the weight cache. `read_at`: when its policy, pins and holders were read last; `required`: no
    more copies are there than its policy asks for; `asks`: how often the cell has refused in a row
    to let it go, and `ask_at`: when it is asked next."""

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
    in_session: bool = False
    check_at: float = 0.0
    checks: int = 0
    unproved: bool = False
    largest: int = 0
    retained: Retained | None = None
    peak: int = 0
    excess: int = 0
    last: bool = False
    mapped: Sequence[FileEntry] = ()
    read_at: float = NEVER
    required: bool = False
    asks: int = 0
    ask_at: float = 0.0

    def must_stay(self, now: float) -> bool:
        """Whether the copy may not be evicted: its policy pins it, it is the only copy of a model
        that a session needs, or a script has just refused to retire it. All that this worker knows
        of pins is in this one place; the script `retire` decides for the whole cell."""
        only_copy = self.in_session and not self.surplus
        return self.policy.pin or only_copy or self.stays_until > now

    @property
    def group(self) -> str:
        """The affinity key of the model, '' if it has none."""
        return self.policy.affinity.key if self.policy.affinity else ""


class Copies:
    """Copies by reference. The heartbeat's thread reads while the event loop adds and removes: the
    mapping is never changed, but replaced. `used(ref, now, requests)` is called for each batch."""

    def __init__(
        self, used: Callable[[str, float, int], object] = lambda ref, now, n: None
    ) -> None:
        self._copies: dict[str, Copy] = {}
        self._used = used

    def add(self, copy: Copy) -> None:
        """Add a copy that was loaded."""
        self._copies = {**self._copies, copy.ref: copy}

    def announced(self, ref: str) -> None:
        """The announcement of the copy has been received, or is given up."""
        if copy := self.get(ref):
            copy.announcing = False

    def remove(self, ref: str) -> Copy:
        """Remove a copy that is about to be freed."""
        copy = self._copies[ref]
        self._copies = {other: c for other, c in self._copies.items() if other != ref}
        return copy

    def get(self, ref: str) -> Copy | None:
        """The copy of `ref`; None if there is none."""
        return self._copies.get(ref)

    def held(self) -> dict[str, int]:
        """The copies that take requests, and the bytes of each (shared bytes counted in each)."""
        return {r: c.footprint.total for r, c in self._copies.items() if not c.retiring}

    def pinned(self) -> tuple[int, int]:
        """Of the copies that policies pin: their bytes (shared bytes counted in each), and number.
        What sessions pin is not among them: for that the cell reserves bytes."""
        sizes = [c.footprint.total for c in self._copies.values() if c.policy.pin]
        return sum(sizes), len(sizes)

    def hot(self) -> list[str]:
        """The copies that take requests, in the order in which another process should load them:
        those that must stay first, then the last used."""
        held = [copy for copy in self._copies.values() if not copy.retiring]

        def rank(copy: Copy) -> tuple[bool, float]:
            return copy.policy.pin or copy.in_session, copy.last_used

        return [copy.ref for copy in sorted(held, key=rank, reverse=True)]

    def look_again(self, refs: Iterable[str] | None) -> None:
        """Have the policies, pins and holders of these copies read again (None: of all). From
        any thread."""
        for copy in self.all() if refs is None else filter(None, map(self.get, refs)):
            copy.read_at = NEVER

    def all(self) -> list[Copy]:
        """Every copy, retiring ones too."""
        return list(self._copies.values())

    def report(self, hits: Callable[[str], int]) -> dict[str, CopyUse]:
        """Per model, for people: tier, bytes, ms since the last use, and requests served."""
        now = clock.monotonic()
        return {
            ref: CopyUse("device", c.footprint.total, round((now - c.last_used) * 1000), hits(ref))
            for ref, c in self._copies.items()
        }

    def acquire(self, ref: str, requests: int = 1) -> Copy:
        """The copy for a batch of `requests`: it is not freed before `release`."""
        copy = self._copies[ref]
        copy.running += 1
        self._used(ref, clock.monotonic(), requests)
        return copy

    @staticmethod
    def release(copy: Copy) -> None:
        """End the use of a copy by one batch; it counts as used just now."""
        copy.running -= 1
        copy.last_used = clock.monotonic()

    def retire_all(self) -> list[str]:
        """Mark every copy as retiring; those that were not."""
        held = list(self.held())
        for ref in held:
            self._copies[ref].retiring = True
        return held


def resident(copy: Copy, now: float, busy: bool, min_residency_s: float) -> Resident:
    """A copy as a plan sees it. `min_residency_s`: this worker's own rule, in loads of the copy
    (its load has to pay off first)."""
    given = copy.policy.min_residency_s
    return Resident(
        ref=copy.ref,
        priority=copy.policy.priority,
        pinned=copy.must_stay(now),
        busy=busy,
        loaded_at=copy.loaded_at,
        last_used=copy.last_used,
        reload_s=copy.load_s,
        min_residency_s=given if given >= 0 else min_residency_s * copy.load_s,
        group=copy.group,
        surplus=copy.surplus,
    )
