"""What `place` and `replay` return for one request."""

from __future__ import annotations

from typing import NamedTuple

from shared import statuses
from shared.envelope import unpack_error
from shared.errors import (
    Expired,
    Gone,
    InvalidInput,
    KeyReused,
    Overloaded,
    Unavailable,
    WarmrouteError,
)

ACCEPTED = frozenset({statuses.PLACED, statuses.PARKED, statuses.JOINED})


class Limits(NamedTuple):
    """Bounds that `place` keeps: per work stream, per parked stream, records in the cell."""

    work: int
    parked: int
    pending: int


class Placed(NamedTuple):
    """The status of one request (listed in `lua/place.lua`) and its place.

    `detail` depends on the status: read it through `worker`, `joined_id`, `limit_name` or
    `raise_for_status`. `entry`: id in the worker's stream. `retry_ms`: when to send it again, 0 if
    that is unknown. `since`: of the connection over which that was said (`Channel.since`).
    """

    status: str
    detail: str
    entry: str
    deadline_ms: int
    retry_ms: int = 0
    since: float | None = None

    @property
    def worker(self) -> str:
        """The worker on which it was placed, '' otherwise."""
        return self.detail if self.status == statuses.PLACED else ""

    @property
    def joined_id(self) -> str:
        """The id of the earlier request of the same idempotency key, '' otherwise."""
        return self.detail if self.status in (statuses.JOINED, statuses.GONE) else ""

    @property
    def limit_name(self) -> str:
        """The field of `Limits` that is reached, '' unless the status is `full`."""
        return self.detail if self.status == statuses.FULL else ""

    def raise_for_status(self, limits: Limits) -> None:
        """Raise why a request was not accepted; nothing if it was. `limits`: those that it was
        placed with."""
        if self.status not in ACCEPTED:
            error = self._error(limits)
            error.retry_after_s = self.retry_ms / 1000 or None
            raise error

    def _error(self, limits: Limits) -> WarmrouteError:
        match self.status:
            case statuses.FULL:
                return Overloaded(_full(self.limit_name, limits))
            case statuses.MEMORY:
                return Unavailable("Redis's memory is nearly full; retry later")
            case statuses.UNLOADABLE | statuses.QUARANTINED:
                return unpack_error(self.detail.encode())
            case statuses.MISMATCH:
                return KeyReused("the idempotency key was used for another request")
            case statuses.GONE:
                return Gone(f"request {self.joined_id}: its outcome is no longer kept")
            case statuses.LATE:
                return Expired("its deadline passed before it could be placed")
            case statuses.DUPLICATE:
                return InvalidInput("this stream entry was accepted before")
        return WarmrouteError(f"place returned {self.status!r}")


def _full(name: str, limits: Limits) -> str:
    if name == "work":
        return (
            f"every worker that holds this model has {limits.work} requests queued, the limit; "
            "retry later"
        )
    if name == "parked":
        return f"{limits.parked} requests wait for this model to load, the limit; retry later"
    return f"{limits.pending} requests of this cell are pending, the limit; retry later"
