"""The lease of one load: renewed while the load runs, and ended if the load announces nothing.

Its token fences: an answer under a token that was replaced changes nothing. Every call may be
repeated, so each is repeated until Redis answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from shared import statuses
from shared.causes import full_text, one_line, scope_of
from shared.constants import STALL_SPARE_MS
from shared.envelope import pack_error
from shared.errors import InsufficientMemory, Unavailable, WarmrouteError
from shared.retry import until_answered
from shared.scripts import WorkerScripts

log = logging.getLogger(__name__)

LOAD_LEASE_MS = 10_000
AGAIN_MS = 1000  # a load for which no worker has memory now is ordered again after this
RENEW_EVERY_S = 2.0
REPORT_AFTER_S = 0.2  # most waits are shorter than this


class LoadLease:
    """The load of `ref` that `worker` has claimed with `token`."""

    def __init__(
        self, scripts: WorkerScripts, worker: str, ref: str, token: str, unloadable_ms: int,
        device_class: str = "",
    ) -> None:  # fmt: skip
        self._scripts = scripts
        self._worker = worker
        self.ref = ref
        self.token = token
        self._unloadable_ms = unloadable_ms
        self._device_class = device_class
        self._why = ""
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def renewed(self) -> AsyncIterator[None]:
        """Renew the lease during the block; the block is cancelled if the lease is lost."""
        load = asyncio.current_task()
        assert load is not None
        task = asyncio.create_task(self._renew(load))
        try:
            yield
        finally:
            task.cancel()

    def report_wait(self, why: str) -> None:
        """Record why the load waits ('' it does not): `GET /v2/requests` shows it."""
        if why != self._why:
            self._why = why
            self._changed.set()

    async def _renew(self, load: asyncio.Task[object]) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_EVERY_S):
                    await self._changed.wait()
                    await asyncio.sleep(REPORT_AFTER_S)
            self._changed.clear()
            with suppress(Unavailable):
                if not await self._renew_for(LOAD_LEASE_MS, STALL_SPARE_MS):
                    log.warning("the load lease of %s is lost", self.ref)
                    load.cancel()
                    return

    async def _renew_for(self, lease_ms: int, spare_ms: int = 0) -> bool:
        return await self._scripts.renew_load(
            self._worker, self.ref, self.token, lease_ms, self._why, spare_ms
        )

    async def offer(self, why: str) -> bool:
        """Offer the order to the other workers, which may have the capacity; False if none is left:
        then the lease stays with this worker."""
        log.info("%s is offered to other workers: %s", self.ref, why)
        answer = await until_answered(
            lambda: self._scripts.refuse_load(self._worker, self.ref, self.token)
        )
        return answer != statuses.NO_WORKER

    async def refuse(self, error: InsufficientMemory | None = None, why: str = "") -> None:
        """Offer the order to the other workers. If none is left: with an `error` (the model never
        fits here) the load fails; without, the lease shows `why` until it expires, and the sweep
        orders the load again if a request still waits: a worker without free memory, or one that
        drains, does not make a load fail."""
        too_large = error is not None and error.too_large
        answer = await until_answered(
            lambda: self._scripts.refuse_load(
                self._worker, self.ref, self.token, too_large=too_large
            )
        )
        if answer == statuses.NO_WORKER and error is not None:
            await self.fail(error)
        elif answer == statuses.NO_WORKER:
            self._why = why or "no worker can load it just now"
            with suppress(Unavailable):
                await self._renew_for(AGAIN_MS)

    async def fail(self, error: WarmrouteError, scope: str = "") -> None:
        """The load failed here: another worker is asked. If none is left, all parked requests are
        answered with the error, which stands for a while. `scope`: of the cause, that of the error
        by default."""
        full, scope = full_text(error), scope or scope_of(error)
        log.warning("load of %s failed (%s): %s", self.ref, scope, one_line(full))
        packed, text, left = pack_error(error), full.encode(errors="replace"), 1
        while left > 0:
            left = await until_answered(
                lambda: self._scripts.fail_load(
                    self._worker,
                    self.ref,
                    self.token,
                    packed,
                    self._unloadable_ms,
                    error.retryable,
                    self._device_class,
                    text,
                    scope,
                )
            )

    async def release(self) -> None:
        """End the lease now, without an error: the sweep orders again if a request waits."""
        with suppress(Unavailable):  # then it expires
            await self._renew_for(1)
