"""Calls of models that belong to no request: the warm-up of a new copy, and the same call again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from shared import clock
from shared.errors import ModelFailed
from shared.manifest import Manifest
from worker.device.base import DeviceOutOfMemory
from worker.loading.warmup import Ready, Warmup
from worker.residency.context import WorkerContext
from worker.runtimes.base import LoadedModel

NUMBER = 1 << 62  # in place of a batch number: no batch has it, so no request is charged
LIMIT_S = 120.0
Result = TypeVar("Result")


class WarmCalls:
    """Runs them on the device thread. One that never returns is ended by the watchdog."""

    def __init__(self, context: WorkerContext) -> None:
        self._copies = context.copies
        self._thread = context.thread
        self._progress = context.progress
        self._on_gpu = context.device.kind == "cuda"
        # On a CPU a full batch costs its time, and nothing is made for its size.
        self._warmup = Warmup(fills=self._on_gpu)

    async def warm_up(
        self, ref: str, manifest: Manifest, model: LoadedModel, earlier: str
    ) -> Ready:
        """Warm a new copy up; how to serve it. LoadFailed if it cannot be served."""

        def warm_up() -> Ready:
            ready = self._warmup.run(manifest, model, earlier)
            # It refused all inputs, or a batch, which is no reason not to serve it. Or the device
            # is lost.
            if ready.cold or self._on_gpu:
                self._thread.examine(ModelFailed(ready.cold or "the warm-up"))
            return ready

        return await self._run(ref, warm_up)

    async def try_again(self, ref: str) -> bool | None:
        """Whether the warm-up call of a copy, which has succeeded here, succeeds now; None if none
        is known. A device without free memory says nothing against the copy."""
        copy = self._copies.get(ref)
        inputs = self._warmup.inputs(copy.manifest) if copy is not None else None
        if copy is None or inputs is None or copy.retiring:
            return None
        given = {name: array.copy() for name, array in inputs.items()}
        copy.running += 1  # not freed meanwhile; unlike `acquire`, it does not count as used
        try:
            await self._run(ref, partial(copy.model.run, given))
        except DeviceOutOfMemory:
            return True
        except Exception:
            return False
        finally:
            copy.running -= 1
        return True

    async def _run(self, ref: str, call: Callable[[], Result]) -> Result:
        def run() -> Result:
            self._progress.start(NUMBER, clock.monotonic() + LIMIT_S, ref)
            try:
                return call()
            finally:
                self._progress.end()

        return await self._thread.run(run)
