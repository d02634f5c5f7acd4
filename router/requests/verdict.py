"""What `place` answered, as an error where the request was not accepted."""

from __future__ import annotations

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
from shared.scripts import Placed

ACCEPTED = frozenset({"placed", "parked", "joined"})


def raise_unless_accepted(placed: Placed) -> None:
    """Raise why a request was not accepted, if it was not; with when to come back, if known."""
    if placed.status not in ACCEPTED:
        raise _reason(placed)


def _reason(placed: Placed) -> WarmrouteError:
    retry_after_s = placed.retry_ms / 1000 or None
    match placed.status:
        case "full":
            return Overloaded(
                f"the limit is reached for {placed.where}", retry_after_s=retry_after_s
            )
        case "memory":
            return Unavailable("Redis's memory is nearly full", retry_after_s=retry_after_s)
        case "unloadable" | "quarantined":
            error = unpack_error(placed.where.encode())
            error.retry_after_s = retry_after_s
            return error
        case "mismatch":
            return KeyReused("the idempotency key was used for another request")
        case "gone":
            return Gone(f"request {placed.where}: its outcome is no longer kept")
        case "late":
            return Expired("its deadline passed before it could be placed")
        case "duplicate":
            return InvalidInput("this stream entry was taken already")
    return WarmrouteError(f"place answered {placed.status!r}")
