"""Retries of scripts that change nothing when they run a second time.

A call whose answer was lost may have run. Only callers for which a second run is harmless
wait here; the others get `Unavailable` and decide.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from shared.errors import Unavailable

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 2.0

Result = TypeVar("Result")


async def until_answered(call: Callable[[], Awaitable[Result]]) -> Result:
    """What `call()` returns, once it no longer raises Unavailable; other errors pass.

    Waits up to LONGEST_WAIT_S between tries, longer each time, with jitter; for ever, if need be.
    """
    try:
        return await call()  # tenacity's part takes 22 us per call: too much for the warm path
    except Unavailable as error:
        if not _may_pass(error):
            raise
    retrying = AsyncRetrying(
        retry=retry_if_exception(_may_pass),
        wait=wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S),
        before_sleep=_warn_once,
    )

    async def again() -> Result:  # tenacity awaits coroutine functions only, and no lambda is one
        return await call()

    return await retrying(again)


def _may_pass(error: BaseException) -> bool:
    # Exactly this class: a subclass (a quarantine) is an answer.
    return type(error) is Unavailable


def _warn_once(state: RetryCallState) -> None:
    """One line for an outage, however many tries it takes."""
    if state.attempt_number == 1 and state.outcome is not None:
        log.warning("%s: tried again until Redis answers", state.outcome.exception())
