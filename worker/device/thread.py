"""The one thread that owns the device. Everything that touches a loaded model runs here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from worker.device.sticky_errors import watched

Result = TypeVar("Result")


class DeviceThread:
    """Calls run one after the other, in the order in which they were handed in."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="device")

    async def run(self, call: Callable[[], Result]) -> Result:
        """Run `call` on the device thread; its exception is raised here. If it says that the
        device is lost to this process, the process ends."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, watched, call)

    def close(self) -> None:
        """Let the running call end and take no more."""
        self._executor.shutdown(wait=True, cancel_futures=True)
