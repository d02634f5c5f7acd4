"""Executor threads in virtual time."""

from __future__ import annotations

from asyncio import Future
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.loop import SimLoop


class Crashed(BaseException):
    """The process that runs this has just died: nothing of it goes on."""


class Awaits(BaseException):
    """The thread that runs this waits for the event loop first. Then it runs the call again."""

    def __init__(self, news: Coroutine[Any, Any, None]) -> None:
        super().__init__()
        self.news = news


class Lane:
    """Calls of one executor thread, in the order in which they came."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self._calls: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._busy = False

    def put(self, future: Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Queue a call; it belongs to the process that asks."""
        self._calls.append((future, func, args))
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        if not self._calls:
            self._busy = False
            return
        future, func, args = self._calls.popleft()
        if future.cancelled():  # as a call that waits for its thread is taken back
            self._loop.call_soon(self._next)
            return
        self._run(future, func, args)

    def _run(
        self, future: Future[Any], func: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:  # fmt: skip
        loop, result, error = self._loop, None, None
        loop.work_s, loop.after_work = None, []
        try:
            result = func(*args)
        except Crashed:
            return
        except Awaits as thread:
            task = loop.create_task(thread.news)
            task.add_done_callback(lambda _: self._run(future, func, args))
            return
        except Exception as raised:
            error = raised
        finally:
            took, loop.work_s = loop.work_s, None  # else every clock would be ahead from now on
        took = took if took is not None else loop.draw_work()
        loop.call_later(took, self._end, future, result, error, loop.after_work)

    def _end(
        self, future: Future[Any], result: Any, error: Exception | None,
        after: list[Callable[[], None]],
    ) -> None:  # fmt: skip
        for call in after:
            call()
        if not future.done():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)
        self._next()
