"""What must hold of copies, whatever is asked and done: from the event log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deploy.bench.history import WRITTEN_MS, Stay, concurrent_loads
from deploy.bench.soak.acting import TTL_S, Promise


def broken_promises(copies: Sequence[Stay], promises: Iterable[Promise]) -> list[str]:
    """Copies that went although they were pinned: of a pin any copy, of a session the last. An
    eviction may have begun a little before its event says so."""
    found = []
    for promise in promises:
        until = promise.until
        if promise.kind == "session":
            until = min(until, promise.since + TTL_S * 1000)
        mine = [copy for copy in copies if copy.ref.partition(":")[0] == promise.model]
        for copy in mine:
            went = promise.since + WRITTEN_MS < copy.went_from and copy.until < until
            if went and not (promise.kind == "session" and _another(mine, copy)):
                found.append(
                    f"{copy.ref} left {copy.worker} ({copy.reason}) under a {promise.kind}"
                )
    return found


def loaded_twice_at_once(copies: Sequence[Stay]) -> list[str]:
    """Loads of one model by two workers at the same time."""
    return [f"{copy.ref} was loaded twice at once" for copy in concurrent_loads(copies)]


def _another(mine: Sequence[Stay], gone: Stay) -> bool:
    """Whether another worker held the model when this copy went."""
    return any(
        other.worker != gone.worker and other.since < gone.until < other.until for other in mine
    )
