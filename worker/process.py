"""`python -m worker.process PARENT LINK PROGRESS`: the device process, started by its parent only.

PARENT is the parent's process id; the others are descriptors that it passed on: one end of the link
(`supervisor/link.py`), and the memory of `supervisor/progress.py`.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

import uvloop

from shared import config as settings
from shared import failpoints, process
from shared.config import WorkerConfig
from shared.errors import ConfigError, WarmrouteError
from shared.parent_death import end_with_parent
from worker.supervisor.link import Link
from worker.supervisor.progress import Progress
from worker.supervisor.restart import (
    DEVICE_LOST,
    DRAINED,
    GIVEN_UP,
    MISCONFIGURED,
    RestartRequest,
)

log = logging.getLogger(__name__)

INSTALL = "it needs the packages of the extra: pip install 'warmroute[worker]'"
ORPHANED_S = 0.1  # after its parent's first thread has died, a process belongs to another parent


class Signals:
    """The first SIGTERM or SIGINT drains, a second one ends the process: its parent then fences it.
    The death of the parent sends a signal for each of its threads, which must not end a drain."""

    def __init__(self, parent: int, stop: Callable[[], object]) -> None:
        self._parent = parent
        self._stop = stop
        self._count = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        self._count += 1
        self._stop()
        if self._count > 1:
            asyncio.get_running_loop().call_later(ORPHANED_S, self._give_up)

    def _give_up(self) -> None:
        if os.getppid() == self._parent:
            os._exit(GIVEN_UP)


async def _run(config: WorkerConfig, parent: int, end: socket.socket, progress: Progress) -> None:
    link = await Link.open(end)
    first = await link.receive() or {}
    try:
        from worker.app import Worker
    except (ImportError, OSError) as error:  # OSError: a package without its libraries
        raise ConfigError(f"a worker cannot run here: {error}; {INSTALL}") from error

    # The parent gives a GPU to a worker that it has claimed one for, and shows it no other.
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "") if config.device.startswith("cuda") else ""
    served_before = bool(first.get("served_before"))
    try:
        worker = await Worker.open(config, progress, link.send, gpu)
    except ConfigError as error:
        if not served_before:
            raise
        # The settings are right, since another process has served with them: its device is lost.
        log.critical("the device cannot be opened any more: %s", error.message)
        _leave(DEVICE_LOST)
    restart = worker.restart

    def stop() -> None:
        restart.withdraw()
        worker.stop()

    Signals(parent, stop)
    messages = asyncio.create_task(_read_messages(link, stop, restart))
    await worker.run(
        first.get("hot", []), served_before, first.get("suspect", ""), first.get("parent", "")
    )
    messages.cancel()
    _leave(restart.status)


async def _read_messages(link: Link, stop: Callable[[], object], restart: RestartRequest) -> None:
    """Act on messages of the parent while this process serves; drain at the end of the link."""
    while (message := await link.receive()) is not None:
        restart.not_before(message.get("restart_not_before_s", 0.0))
    stop()


def _leave(status: int) -> None:
    """End without waiting for threads: a call that never returns must not keep a drained worker."""
    logging.shutdown()
    os._exit(status)


def main() -> int:
    """The exit status, as in `worker/supervisor/restart.py`."""
    try:
        parent, link, memory = (int(argument) for argument in sys.argv[1:])
    except ValueError:
        print("python -m worker.process is started by python -m worker only", file=sys.stderr)
        return MISCONFIGURED
    if not end_with_parent(parent):
        return GIVEN_UP
    process.prepare()
    faulthandler.enable()
    end = socket.socket(fileno=link)
    os.set_inheritable(link, False)
    try:
        config = settings.read(WorkerConfig, os.environ)
        failpoints.arm(os.environ)
        uvloop.run(_run(config, parent, end, Progress(memory)))
    except WarmrouteError as error:
        print(f"warmroute worker: {error.message}", file=sys.stderr)
        return MISCONFIGURED
    return DRAINED


if __name__ == "__main__":
    sys.exit(main())
