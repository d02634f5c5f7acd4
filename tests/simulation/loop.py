"""An event loop in virtual time, on which several processes live, one callback at a time.

Each simulated process owns a contextvar context, which asyncio hands on to whatever the process
starts. So the loop knows of every callback whose it is: those of a dead process are dropped (a
`kill -9` between any two awaits), those of a paused one are kept back (SIGSTOP).

Which process goes on next is drawn by the seeded generator. Within a process callbacks keep their
order, as asyncio promises that and code may rely on it; what else can overtake what (answers,
timers, other processes) is decided by delays, which are drawn as well.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import sys
import warnings
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

from tests.simulation.lane import Lane

if TYPE_CHECKING:
    from tests.simulation.process import Process

PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
START_S = 1000.0  # no code may take 0 for "never" by accident
LONGEST_S = 100_000.0


class Stuck(Exception):
    """Nothing is left that could ever happen, or a schedule does not end."""


class SimTask(asyncio.Task):  # type: ignore[type-arg]
    """A task whose place in a set is the same in every run."""

    serial = 0

    def __hash__(self) -> int:
        return self.serial


class SimFuture(asyncio.Future):  # type: ignore[type-arg]
    """A future whose place in a set is the same in every run."""

    serial = 0

    def __hash__(self) -> int:
        return self.serial


class SimTimer(events.TimerHandle):
    """A timer; of those due at the same moment the first made is the first to run."""

    __slots__ = ("serial",)

    def __lt__(self, other: SimTimer) -> bool:
        return (self._when, self.serial) < (other._when, other.serial)


class SimLoop(asyncio.BaseEventLoop):
    """Virtual time, seeded order. `steps` counts callbacks, `now` is in seconds."""

    def __init__(self, order: random.Random) -> None:
        super().__init__()
        self.now = START_S
        self.steps = 0
        self.closing = False  # what ends now may start nothing any more
        self.work_s: float | None = None  # how long the executor call that runs now takes
        self.after_work: list[Callable[[], None]] = []  # what is to be true only when it is over
        self.draw_work: Callable[[], float] = lambda: 0.001
        self.tasks: list[SimTask] = []
        self._order = order
        self._queues: dict[Process | None, deque[events.Handle]] = {}
        self._lanes: dict[Any, Lane] = {}
        self._serial = 0
        self.set_task_factory(SimLoop._make_task)

    # Time ------------------------------------------------------------------------------------

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        """One callback of one process; if nothing is ready, on to the next timer."""
        self._sort_in()
        while not self._queues:
            self._jump()
            self._sort_in()
        process = self._pick()
        queue = self._queues[process]
        handle = queue.popleft()
        if not queue:
            del self._queues[process]
        if handle._cancelled or (process is not None and not process.alive):
            return
        if process is not None and process.paused:
            process.held.append(handle)
            return
        self.steps += 1
        handle._run()

    def _pick(self) -> Process | None:
        if len(self._queues) == 1:
            return next(iter(self._queues))
        return self._order.choice(list(self._queues))

    def _sort_in(self) -> None:
        """What is ready, to the queues of its processes."""
        ready = self._ready
        while ready:
            handle = ready.popleft()
            process = handle._context.get(PROCESS)
            queue = self._queues.get(process)
            if queue is None:
                queue = self._queues[process] = deque()
            queue.append(handle)

    def _jump(self) -> None:
        """Time goes on to the next timer, and all that are due by then are ready."""
        while self._scheduled and self._scheduled[0]._cancelled:
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._scheduled:
            raise Stuck("nothing is left to do, but somebody waits")
        self.now = max(self.now, self._scheduled[0]._when)
        if self.now > START_S + LONGEST_S:
            raise Stuck("the schedule does not end")
        while self._scheduled and self._scheduled[0]._when <= self.now:
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            if not handle._cancelled:
                self._ready.append(handle)

    # What asyncio asks a loop for ------------------------------------------------------------

    def _make_task(self, coro: Coroutine[Any, Any, Any], **given: Any) -> SimTask:
        task = SimTask(coro, loop=self, **given)
        self._serial += 1
        task.serial = self._serial
        self.tasks.append(task)
        return task

    def create_future(self) -> SimFuture:
        future = SimFuture(loop=self)
        self._serial += 1
        future.serial = self._serial
        return future

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> events.Handle:
        if self.closing:
            return events.Handle(callback, args, self, context)
        return super().call_soon(callback, *args, context=context)

    call_soon_threadsafe = call_soon

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> SimTimer:
        timer = SimTimer(when, callback, args, self, context)
        self._serial += 1
        timer.serial = self._serial
        timer._scheduled = True
        heapq.heappush(self._scheduled, timer)
        return timer

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> SimFuture:
        """Threads are simulated: the call runs as a whole at one moment, its result comes later.

        An executor given by the caller is taken for one thread, the default one for many.
        """
        future = self.create_future()
        lane = self._lanes.setdefault(executor, Lane(self)) if executor else Lane(self)
        lane.put(future, func, args)
        return future

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        process = PROCESS.get()
        assert process is not None
        process.handlers[sig] = (callback, args)

    def remove_signal_handler(self, sig: int) -> bool:
        process = PROCESS.get()
        return process is not None and process.handlers.pop(sig, None) is not None

    def _process_events(self, event_list: object) -> None:
        """There is no selector."""

    def close(self) -> None:
        """End for good: unfinished coroutines are closed while nothing can be started."""
        self.closing = True
        unraisable, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what `finally` blocks begin now never runs
                for task in self.tasks:
                    task._log_destroy_pending = False
                    if not task.done():
                        _close(task.get_coro())
        finally:
            sys.unraisablehook = unraisable
        super().close()


def _close(coro: Any) -> None:
    with suppress(RuntimeError, ValueError):  # it awaited in `finally`: it is dead all the same
        coro.close()
