"""Who wants to come onto a device, and who is there: what a plan is told of each."""

from __future__ import annotations

from dataclasses import dataclass

from worker.residency.ledger import Footprint


@dataclass(frozen=True)
class Wanted:
    """A newcomer. `group_max`: models of its `group` that may be on the device (0: no limit).
    `trial`: nobody waits for it, it is a version that is newer than what requests get.

    To free memory for no model (others took it, a batch needs it): no `ref`, and priority 0.
    """

    ref: str
    footprint: Footprint
    priority: int = 5
    group: str = ""
    group_max: int = 0
    trial: bool = False


@dataclass(frozen=True, kw_only=True)
class Resident:
    """A copy on the device. Times in seconds of the clock that `now` is of. `reload_s`: what
    bringing it back takes. `surplus`: other live workers hold it too. `bytes`: what it takes, with
    shared blobs shared out; `plan` fills it in."""

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
