"""One pipelined connection to Redis for the hot path: many calls in flight, answered in order.

redis-py's asyncio client lends a connection to each call and packs arguments in Python: with it a
warm request cost the gateway 152 us of processor time, with this 104. This lets hiredis pack what
is small and parse; redis-py still reads the URL and names the errors. A call that is
cancelled leaves its place in the order, so no caller can get another's answer. Nothing is ever sent
twice: when the connection is lost, every call in flight fails and the next one reconnects.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import hiredis
import redis.exceptions

from shared import clock
from shared.backoff import Backoff
from shared.connection import COMMAND_TIMEOUT_S, CONNECT_TIMEOUT_S, keep_alive
from shared.liveness import LOOKS, Liveness
from shared.location import Address, location_of
from shared.redis_url import options_of, tls_context
from shared.refusals import UNUSABLE, not_sent, reply_error
from shared.resp import packed

CLOSE_TIMEOUT_S = 1.0


class Channel:
    """`execute_command` like redis-py's, without response callbacks. Errors are redis-py's. With
    `cell` it leads to the node of a Redis Cluster that has the cell. While Redis cannot be reached,
    calls fail at once between two tries to connect: no crowd waits for one timeout each."""

    def __init__(self, url: str, cell: str = "") -> None:
        self._options, self._tls = options_of(url), tls_context(url)
        self._location = location_of(url, cell)
        self._link: _Link | None = None
        self._opening: asyncio.Task[None] | None = None
        self._backoff, self._is_closed = Backoff(), False
        self._error: Exception = redis.exceptions.ConnectionError("never connected")

    @property
    def since(self) -> float:
        """When the connection in use was opened, of `clock.monotonic`; inf while there is none."""
        link = self._link
        return link.opened if link is not None and link.lost is None else float("inf")

    async def execute_command(self, *args: Any) -> Any:
        """Send one command and await its answer. ConnectionError: it may or may not have run."""
        link = self._link
        if link is None or link.lost is not None:
            link = await self._connect()
        return await link.call(args)

    async def execute_all(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands in one piece, and await all of their answers. An error is an answer."""
        link = self._link
        if link is None or link.lost is not None:
            link = await self._connect()
        link._transport.set_write_buffer_limits()  # from now on what is written in a turn is kept
        answers = [link.call(args) for args in commands]
        try:
            await asyncio.wait(answers[-1:])
        finally:
            for answer in answers:
                answer.cancel()  # what has no answer: the caller went away
        return [answer.exception() or answer.result() for answer in answers]

    async def aclose(self) -> None:
        """Close the connection for good; calls in flight and later ones fail."""
        self._error, self._is_closed = redis.exceptions.ConnectionError("it was closed"), True
        if (opening := self._opening) is not None:
            opening.cancel()
            await asyncio.wait([opening])
        if self._link is not None:
            await self._link.aclose()

    def cut(self) -> None:
        """Close the connection at once, whatever is on its way: calls in flight fail, and the next
        one opens another."""
        if self._link is not None:
            self._link.abort()

    async def _connect(self) -> _Link:
        """The next connection, which all callers of the moment share, or its error."""
        if self._opening is None:
            self._forget_lost()
            if self._is_closed or self._backoff.waits():
                raise not_sent(self._error)
            self._opening = asyncio.create_task(self._try())
        opening = self._opening
        await asyncio.wait([opening])  # a cancelled caller leaves it to the others
        if opening.cancelled() or self._link is None:
            raise not_sent(self._error)
        return self._link

    def _forget_lost(self) -> None:
        if self._link is not None and self._link.lost is not None:
            self._error = self._link.lost
            self._backoff.lost(self._link.lasted_s)
            self._location.note(self._link.lost, self._link.at)
            self._link = None

    async def _try(self) -> None:
        """Stores an error instead of raising it: there may be no caller left."""
        try:
            self._link = await self._location.reach(self._open, CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError, redis.exceptions.RedisError) as error:
            self._error = error
            self._backoff.failed()
        finally:
            self._opening = None

    async def _open(self, at: Address) -> _Link:
        loop, make = asyncio.get_running_loop(), partial(_Link, at)
        if at.host:
            _, link = await loop.create_connection(make, at.host, at.port, ssl=self._tls)
        else:
            _, link = await loop.create_unix_connection(make, self._options["path"])
        try:
            await self._greet(link)
            await self._location.settle(lambda *args: link.call(args), at)
        except BaseException:
            link.abort()
            raise
        return link

    async def _greet(self, link: _Link) -> None:
        options = self._options
        if options.get("password"):
            name = [options["username"]] if options.get("username") else []
            await link.call(("AUTH", *name, options["password"]))
        if options.get("db"):
            await link.call(("SELECT", options["db"]))


class _Link(asyncio.Protocol):
    """One connection. Answers come in the order of the calls."""

    def __init__(self, at: Address) -> None:
        self.at, self._loop = at, asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=reply_error)
        self._pending: deque[asyncio.Future[Any]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self.opened, self._closed = clock.monotonic(), asyncio.Event()
        self.lasted_s = 0.0  # once it is lost
        self.lost: Exception | None = None  # no new calls; those in flight may have answers yet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.WriteTransport, transport)
        self._liveness = Liveness(self._transport)
        # uvloop keeps what is written until its turn ends; with this it goes out at once. So the
        # count of a start has left before the device starts what it counts.
        self._transport.set_write_buffer_limits(high=0)
        keep_alive(transport.get_extra_info("socket"))

    def call(self, args: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Write a command; the future of its answer."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.lost is not None:
            future.set_exception(not_sent(self.lost))
            return future
        pieces = packed(args)
        self._pending.append(future)
        self._liveness.wrote(sum(map(len, pieces)), self._loop.time())
        if len(pieces) == 1:
            self._transport.write(pieces[0])
        else:
            self._transport.writelines(pieces)
        if self._watch is None:
            self._watch = self._loop.call_later(COMMAND_TIMEOUT_S / LOOKS, self._check)
        return future

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._liveness.received(self._loop.time())
        while (reply := self._reader.gets()) is not False:
            future, is_error = self._next_pending(), isinstance(reply, Exception)
            if future is None or (is_error and isinstance(reply, UNUSABLE)):
                self._dismiss(reply)
            if future is None or future.done():
                continue  # its caller went away
            if is_error:
                future.set_exception(reply)
            else:
                future.set_result(reply)
        if self.lost is not None and not self._pending:
            self._transport.close()

    def _next_pending(self) -> asyncio.Future[Any] | None:
        if not self._pending:
            return None
        self._liveness.answered()
        return self._pending.popleft()

    def connection_lost(self, error: Exception | None) -> None:
        self._closed.set()
        self._fail(redis.exceptions.ConnectionError(str(error or "connection closed")))

    def _dismiss(self, reply: object) -> None:
        """Accept no new calls: the address may lead to another server by now. (In an answer without
        a request, Redis reports why it closes the connection.)"""
        error = reply if isinstance(reply, Exception) else None
        self._lose(error or redis.exceptions.ConnectionError("an answer without a request"))

    def _lose(self, error: Exception) -> None:
        if self.lost is None:
            self.lost = error
            self.lasted_s = clock.monotonic() - self.opened

    async def aclose(self) -> None:
        """Close; returns when the socket is closed too, which an unread write may delay."""
        self._transport.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._closed.wait()
        except TimeoutError:
            self._transport.abort()

    def abort(self) -> None:
        """Close at once, whatever is still to be written."""
        self._transport.abort()

    def _check(self) -> None:
        """Close the connection if nothing was received or sent for the timeout. An upload that
        takes longer than that goes on."""
        self._watch = None
        if not self._pending:
            return
        left = self._liveness.left_s(self._loop.time(), COMMAND_TIMEOUT_S)
        if left > 0:
            self._watch = self._loop.call_later(min(left, COMMAND_TIMEOUT_S / LOOKS), self._check)
            return
        self._fail(redis.exceptions.TimeoutError("no answer in time"))
        self._transport.abort()

    def _fail(self, error: Exception) -> None:
        self._lose(error)
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        while self._pending:
            future = self._pending.popleft()
            if not future.done():
                future.set_exception(error)
