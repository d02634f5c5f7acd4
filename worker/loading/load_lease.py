"""The lease of one load: renewed while the load runs, and how a load ends that announces nothing.

Its token fences: an answer under a token that was replaced changes nothing. All of them may be
repeated, so a Redis that does not answer is asked until it does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from shared.causes import full_text, one_line
from shared.envelope import pack_error
from shared.errors import InsufficientMemory, Unavailable, WarmrouteError
from shared.retry import until_answered
from shared.scripts import Scripts

log = logging.getLogger(__name__)

LOAD_LEASE_MS = 10_000
AGAIN_MS = 1000  # a load for which nobody has room just now is tried again after that
RENEW_EVERY_S = 2.0
TELL_AFTER_S = 0.2


class LoadLease:
    """The load of `ref` that `worker` has claimed with `token`."""

    def __init__(
        self, scripts: Scripts, worker: str, ref: str, token: str, unloadable_ms: int,
        device_class: str = "",
    ) -> None:  # fmt: skip
        self._scripts = scripts
        self._worker = worker
        self.ref = ref
        self.token = token
        self._unloadable_ms = unloadable_ms
        self._device_class = device_class
        self._why = ""
        self._news = asyncio.Event()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew it for the block; the block is cancelled if the lease is lost."""
        load = asyncio.current_task()
        assert load is not None
        task = asyncio.create_task(self._renew(load))
        try:
            yield
        finally:
            task.cancel()

    def waits(self, why: str) -> None:
        """Say why the load waits ('' it does not): people can read it at the request."""
        if why != self._why:
            self._why = why
            self._news.set()

    async def _renew(self, load: asyncio.Task[object]) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_EVERY_S):
                    await self._news.wait()
                    await asyncio.sleep(TELL_AFTER_S)  # most waits are over by then
            self._news.clear()
            with suppress(Unavailable):
                if not await self._renew_for(LOAD_LEASE_MS):
                    log.warning("the load lease of %s is lost", self.ref)
                    load.cancel()
                    return

    async def _renew_for(self, lease_ms: int) -> bool:
        return await self._scripts.renew_load(
            self._worker, self.ref, self.token, lease_ms, self._why
        )

    async def refuse(self, error: InsufficientMemory | None = None, why: str = "") -> None:
        """Hand the order to the other workers. If none is left: with an `error` (it can never be
        held here) the load fails; without, the lease says `why` until it runs out, and the sweep
        orders it again if anybody still waits: who has no room now, or drains, is no reason."""
        answer = await until_answered(
            lambda: self._scripts.refuse_load(self._worker, self.ref, self.token)
        )
        if answer == "nobody" and error is not None:
            await self.fail(error)
        elif answer == "nobody":
            self._why = why or "no worker takes it just now"
            with suppress(Unavailable):
                await self._renew_for(AGAIN_MS)

    async def fail(self, error: WarmrouteError) -> None:
        """Answer what is parked with the cause, which stands for a while."""
        full = full_text(error)
        log.warning("load of %s failed: %s", self.ref, one_line(full))
        cause, told, left = pack_error(error), full.encode(errors="replace"), 1
        while left > 0:
            left = await until_answered(
                lambda: self._scripts.fail_load(
                    self._worker,
                    self.ref,
                    self.token,
                    cause,
                    self._unloadable_ms,
                    error.retryable,
                    self._device_class,
                    told,
                )
            )

    async def give_back(self) -> None:
        """End the lease at once, blaming nobody: the sweep orders again if anybody waits."""
        with suppress(Unavailable):  # then it runs out by itself
            await self._renew_for(1)
