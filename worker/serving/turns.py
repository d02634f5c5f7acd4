"""Whose turn it is on the device: a fair share of its time for each model that has requests.

Start-time fair queueing. Each model has a virtual time: device seconds used, divided by its weight.
The batch with the lowest start goes first, and the virtual time of all is that of the batch on the
device. So a model with many requests gets what the others leave (work is conserved), and a request
of a model below its share waits for the batch on the device, not for its neighbour's backlog.

    start of a batch = max(virtual time, end of the model's last batch)
    end of a batch   = its start + its device time / weight

Time is charged when a batch is taken, as an estimate, and corrected when the batch has ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.envelope import USUAL
from worker.serving.queued_request import QueuedRequest

FIRST_BATCH_S = 0.001  # assumed before the first batch of a model has ended
KEPT = 0.75  # of the mean device time of a batch when another one has ended
SLOTS = 2  # batches: one on the device, one started and ready behind it
Order = tuple[int, float]  # compared: the lower one goes first
NEVER, ALWAYS = (0, float("-inf")), (10, float("inf"))


@dataclass
class Share:
    """The device time of one model. `end`: of its last batch, in virtual seconds; `batch_s`: the
    mean device time of a batch, seconds. Twice the `weight` gets twice the time."""

    weight: float = 1.0
    end: float = 0.0
    batch_s: float = FIRST_BATCH_S

    def charge(self, seconds: float) -> None:
        """Add device time; less than 0 gives some back."""
        self.end += seconds / self.weight


@dataclass(eq=False)
class Turn:
    """A batch on its way from its queue to its outcomes, all of one model. `order`: its place
    among the turns of other models; `estimate_s`: what was charged for it."""

    requests: list[QueuedRequest]
    order: Order
    share: Share = field(default_factory=Share)
    estimate_s: float = 0.0
    on_device: bool = False  # set on the device thread
    device_s: float = 0.0

    @property
    def ref(self) -> str:
        return self.requests[0].ref


def urgency(priority: int) -> int:
    """The class of a request among models. A priority can give way to the requests of other models
    (6 to 9), but not take their share: a flood of priority 1 would."""
    return max(priority, USUAL)


def take_turn(share: Share, now: float, requests: list[QueuedRequest], first: int) -> Turn:
    """The turn of a batch that has just been taken from its queue; `now`: the virtual time;
    `first`: the priority of its head."""
    start = max(now, share.end)
    share.end = start
    share.charge(share.batch_s)
    return Turn(requests, (urgency(first), start), share, share.batch_s)


def end_turn(turn: Turn) -> None:
    """Correct the charge of a batch by the device time that it took."""
    turn.share.charge(turn.device_s - turn.estimate_s)
    if turn.device_s > 0:
        turn.share.batch_s = KEPT * turn.share.batch_s + (1 - KEPT) * turn.device_s


def may_start(turns: Iterable[Turn], yielded: int = 0) -> Order:
    """The next batch may start if its order is lower than this one. `turns`: of the batches that
    have not ended; so many of them have `yielded` their slots. One batch more than `SLOTS` may
    start: one that goes on the device before a batch that stands and waits for it."""
    taken = list(turns)
    if len(taken) - yielded < SLOTS:
        return ALWAYS
    if len(taken) - yielded > SLOTS:
        return NEVER
    return max((turn.order for turn in taken if not turn.on_device), default=NEVER)
