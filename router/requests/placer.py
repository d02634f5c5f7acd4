"""Places a request once, whatever becomes of Redis's answer.

in time    placed, or refused
too late   its caller has left, or got the error of its deadline: the request ends as that says
lost       a request with an idempotency key is placed again; whether another one runs is
           unknown, and its caller gets that error
"""

from __future__ import annotations

import asyncio
import random

from router.requests.cancels import Cancels, cancel_of
from router.requests.placement import Placement
from router.requests.waiters import Waiters
from shared import statuses
from shared.connection import may_have_run
from shared.constants import STALL_SPARE_MS
from shared.errors import Expired, OutcomeUnknown, Unavailable
from shared.keys import Keys
from shared.scripts import Cancel, GatewayScripts, Limits, Placed, Placing

# How long a gateway waits before it places a request with a key again.
AGAIN_AFTER_S = (0.05, 0.25)
UNKNOWN = "whether this request runs is unknown; with an Idempotency-Key it is safe to retry"


class Placer:
    """The placement of one gateway's requests, under `limits`."""

    def __init__(
        self, keys: Keys, scripts: GatewayScripts, limits: Limits, waiters: Waiters,
        cancels: Cancels,
    ) -> None:  # fmt: skip
        self.limits = limits
        self._keys = keys
        self._placement = Placement(scripts, limits, self._abandoned)
        self._waiters = waiters
        self._cancels = cancels

    async def place(self, item: Placing, until: float) -> Placed:
        """The answer of `place`. Expired if there is none until `until`, OutcomeUnknown if the
        request may run all the same and has a record."""
        try:
            return await self._put(item, until)
        except OutcomeUnknown:
            raise
        except Unavailable as error:
            # (A stream entry stays at its door until it is accepted.)
            if item.ingress or not may_have_run(error):
                raise
            lost = error
        return await self._place_again(item, until, lost)

    async def _place_again(self, item: Placing, until: float, lost: Unavailable) -> Placed:
        if not item.key:
            cancel = Cancel(item.id, ref=item.ref, life_ms=_longest_ms(item))
            self._cancels.soon(cancel, item.timeout_ms / 1000)
            raise _unknown("Redis's answer was lost") from lost
        await asyncio.sleep(random.uniform(*AGAIN_AFTER_S))
        return await self._put(item, until)

    async def _put(self, item: Placing, until: float) -> Placed:
        placing = self._placement.put(item)
        self._waiters.set_deadline(placing, until)
        try:
            return await placing
        except Expired:
            if item.ingress or not item.flags:
                raise
            # The record must not have another end than its caller got.
            raise _unknown("Redis did not answer before the deadline") from None
        finally:
            self._waiters.clear_deadline(placing)

    def _abandoned(self, item: Placing, placed: Placed | None, late: bool) -> None:
        """Its caller left while it was placed, or got the error of its deadline (`late`).
        `placed` is None if no answer came."""
        if item.key or item.ingress:
            return
        if placed is None:
            cancel = Cancel(item.id, ref=item.ref, late=late, life_ms=_longest_ms(item))
        elif placed.status in statuses.PENDING:
            cancel = cancel_of(self._keys, item.id, placed, item.ref, late)
        else:
            return
        self._cancels.soon(cancel, item.timeout_ms / 1000)


def _longest_ms(item: Placing) -> int:
    """How long from now on a request may live that Redis perhaps accepts only now: a command that
    reached its host may lie there for as long as Redis stands still."""
    return item.timeout_ms + STALL_SPARE_MS


def _unknown(why: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"{why}: {UNKNOWN}", retry_after_s=1)
