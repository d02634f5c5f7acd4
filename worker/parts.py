"""What the services of one worker share: the state of its device, and its voice to Redis."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.scripts import Scripts
from worker.batcher import Batcher
from worker.copies import Copies
from worker.device_thread import DeviceThread
from worker.ledger import Ledger
from worker.membership import Membership
from worker.pair.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Built once in app.py. Only code of the event loop touches them, but for `thread`, and for
    `progress`, which that thread writes."""

    scripts: Scripts
    membership: Membership
    copies: Copies
    batcher: Batcher
    ledger: Ledger
    thread: DeviceThread
    progress: Progress = field(default_factory=Progress)
