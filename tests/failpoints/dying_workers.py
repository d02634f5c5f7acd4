"""Ways to a failpoint of a worker, in its device process or in the parent of that.

A scenario has requests accepted, arms the point, and does what leads there. It gets the field and
`arm`, and returns the processes of which one is to die.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from tests.failpoints.asked import REFUSED
from tests.failpoints.field import BUDGET, Field
from tests.helpers.models import Mlp
from tests.helpers.wait import block_until
from worker.app import HOT_EVERY_S

Arm = Callable[..., None]
LARGE = 6_000_000  # two of these do not fit into the budget


def warm(field: Field, arm: Arm) -> list[int]:
    """Requests for a model that is held."""
    pid, model = field.ready_device(), field.warm()
    arm()
    _all_ways(field, model)
    return [pid]


def cold(field: Field, arm: Arm) -> list[int]:
    """Requests for a model that has to be loaded."""
    pid, model = field.ready_device(), field.cold()
    arm()
    _all_ways(field, model)
    return [pid]


def kindred(field: Field, arm: Arm) -> list[int]:
    """A load that asks where the models are that it wants to be beside."""
    pid, model = field.ready_device(), field.kindred()
    arm()
    _all_ways(field, model)
    return [pid]


def long_load(field: Field, arm: Arm) -> list[int]:
    """A load that takes longer than the time after which its lease is renewed."""
    pid, model = field.ready_device(), field.cold()
    arm(more="load.mid:sleep=3000@1.0")
    _all_ways(field, model)
    return [pid]


def proving(field: Field, arm: Arm) -> list[int]:
    """A model whose rows are proved by the first real requests, after these were answered: by a
    guard that does not rest from what it found of others."""
    field.ready_device()
    field.kill_device()
    pid, model = field.ready_device(), field.picky()
    arm()
    _all_ways(field, model)
    return [pid]


def eviction(field: Field, arm: Arm) -> list[int]:
    """A load that another model has to make room for, while that has requests too."""
    pid, resident, newcomer = field.ready_device(), field.warm(LARGE), field.cold(LARGE)
    arm()
    field.ledger.submit(resident, 2)
    field.ledger.submit(newcomer, 2)
    return [pid]


def too_large(field: Field, arm: Arm) -> list[int]:
    """A model that fits no worker: its requests fail, and say so."""
    pid, model = field.ready_device(), field.cold(BUDGET * 2)
    arm()
    field.ledger.submit(model, end=REFUSED)  # a second one would be refused at the door
    field.ledger.stream(model, end=REFUSED)
    return [pid]


def restart(field: Field, arm: Arm) -> list[int]:
    """A device process that begins, after one that died, with requests waiting for it."""
    first, model = field.ready_device(), field.warm()
    arm()
    field.kill_device()
    field.ledger.submit(model, 3)
    field.ledger.stream(model, 1)
    block_until(field.anybody_struck, 60)
    # It may have come and gone between two looks at the processes: whoever it is, it is new.
    pid = field.struck(*field.armed)
    return [] if pid in {first, *field.parents()} else [pid]


def reloading(field: Field, arm: Arm) -> list[int]:
    """As before, one that brings back what the dead one held."""
    # Only what the parent has been told of is loaded again. This process may still load what one
    # before it held: it is not the one to be struck.
    field.ready_device()
    field.warm()
    loads, told = b"", 0.0

    def settled() -> bool:
        nonlocal loads, told
        if loads != (loads := field.shown("loads_total") or b""):
            told = time.monotonic() + 2 * HOT_EVERY_S
        return time.monotonic() > told

    block_until(settled, 60)
    return restart(field, arm)


def drain(field: Field, arm: Arm) -> list[int]:
    """A worker that was told to stop; what it has not begun goes to the next one."""
    pid, model = field.ready_device(), field.warm()
    arm()
    field.worker.child.send_signal(signal.SIGTERM)
    field.ledger.submit(model, 3)
    field.ledger.stream(model, 1)
    return [pid]


def bereaved(field: Field, arm: Arm) -> list[int]:
    """The parent, when it gives up what its dead device process had."""
    field.ready_device()
    model, parent = field.warm(), field.worker.child.pid
    arm()
    field.ledger.submit(model, 3)
    field.kill_device()
    field.ledger.stream(model, 1)
    return [parent]


def _all_ways(field: Field, model: Mlp) -> None:
    """Accepted by 202 and by the stream door; and a caller who waits, at a gateway that lives."""
    field.ledger.submit(model, 3)
    field.ledger.stream(model, 2)
    field.ask(model, field.safe)
