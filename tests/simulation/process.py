"""A simulated process: what a signal, a crash or a pause does to it."""

from __future__ import annotations

import contextvars
import signal
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.loop import PROCESS, SimLoop, SimTask


class Process:
    """One process. `ended` callbacks are what its peers' sockets notice."""

    def __init__(self, loop: SimLoop, name: str, serial: int) -> None:
        self.loop = loop
        self.name = name
        self.serial = serial
        self.peer: Process | None = None  # the parent of a device process
        self.alive = True
        self.status = -int(signal.SIGKILL)  # how it ended, if it has
        self.paused = False
        self.paused_at = 0.0
        self.killed_in_pause_s: float | None = None  # by its parent, so long after it began
        self.told_to_stop = False
        self.held: deque[Any] = deque()
        self.models: set[str] = set()  # that it has loaded, or has begun to
        self.handlers: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
        self.ended: list[Callable[[], None]] = []
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)

    def __repr__(self) -> str:
        return self.name

    def start(self, coro: Coroutine[Any, Any, Any]) -> SimTask:
        """Run a coroutine as part of this process."""
        return self.loop.create_task(coro, context=self.context)

    def kill(self) -> None:
        """`kill -9`: not one more of its callbacks runs."""
        if not self.alive:
            return
        self.alive = False
        self.held.clear()
        for told in self.ended:
            told()
        self.ended.clear()

    def crash(self) -> None:
        """What the kernel does on a bad memory access."""
        self.status = -signal.SIGSEGV
        self.kill()

    def exit(self, status: int) -> None:
        """It has ended by itself."""
        self.status = status
        self.kill()

    def pause(self) -> None:
        """SIGSTOP: time goes on without it."""
        self.paused = True
        self.paused_at = self.loop.now

    def carry_on(self) -> None:
        """SIGCONT: all that came meanwhile is there at once."""
        self.paused = False
        while self.held:
            self.loop._ready.append(self.held.popleft())

    def signal(self, number: int) -> None:
        """A signal, to its handler; without one it ends the process."""
        if number == signal.SIGKILL or number not in self.handlers:
            self.exit(-number)
            return
        self.told_to_stop |= number == signal.SIGTERM
        callback, args = self.handlers[number]
        self.loop.call_soon(callback, *args, context=self.context)
