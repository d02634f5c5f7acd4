"""Connections of the simulated processes to Redis, and the commands on their way."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import redis.exceptions
from redis.exceptions import ReadOnlyError, ResponseError

from shared import clock
from shared.connection import COMMAND_TIMEOUT_S, CONNECT_TIMEOUT_S
from tests.simulation.loop import PROCESS, SimFuture
from tests.simulation.network import Network
from tests.simulation.process import Process
from tests.simulation.server import Ran

READS = ("XREADGROUP", "XREAD")


class SimChannel:
    """`shared.channel.Channel` over the simulated network."""

    def __init__(self, network: Network) -> None:
        process = PROCESS.get()
        assert process is not None, "a channel belongs to a process"
        self._network = network
        self._process = process
        self._link: Link | None = None
        self._connecting = asyncio.Lock()

    @property
    def since(self) -> float:
        """When the connection in use was opened; inf while there is none."""
        link = self._link
        return link.opened if link is not None and link.lost is None else float("inf")

    async def execute_command(self, *args: Any) -> Any:
        """Send one command and await its answer. ConnectionError: it may or may not have run."""
        link = self._link
        if link is None or link.lost is not None:
            link = await self._connect()
        return await link.call(args)

    async def aclose(self) -> None:
        """Close the connection; calls in flight fail."""
        if self._link is not None:
            self._link.fail(redis.exceptions.ConnectionError("connection closed"))

    async def _connect(self) -> Link:
        async with self._connecting:
            if self._link is None or self._link.lost is not None:
                if self._network.is_cut(self._process):
                    await asyncio.sleep(CONNECT_TIMEOUT_S)
                    raise redis.exceptions.ConnectionError("cannot connect")
                await asyncio.sleep(2 * self._network.delay())
                self._link = Link(self._network, self._process)
            return self._link


class Link:
    """One connection of one process."""

    def __init__(self, network: Network, process: Process) -> None:
        self.network = network
        self.process = process
        self.lost: Exception | None = None
        self.opened = clock.monotonic()
        self._sent = self._answered = 0.0
        self._doomed = False
        self._commands: deque[Command] = deque()
        process.ended.append(self._peer_died)

    def call(self, args: tuple[Any, ...]) -> SimFuture:
        """Send a command; the future of its answer."""
        loop = self.network.loop
        future = loop.create_future()
        if self.lost is not None:
            future.set_exception(self.lost)
            return future
        if self.network.sickness and self.network.server.name_of(args) == "heartbeat":
            args = self.network.sickness.reported(str(args[5]), args)
        command = Command(self, args, future)
        self._commands.append(command)
        if self._swallowed():
            return future
        self._sent = max(self._sent, self._passes_at())
        self.network.at(self._sent, command.arrive)
        return future

    def answer(self, command: Command, reply: Any) -> None:
        """The answer goes back, behind those before it."""
        if self._swallowed():
            return
        self._answered = max(self._answered, self._passes_at())
        self.network.loop.call_at(
            self._answered, self._deliver, command, reply, context=self.process.context
        )

    def _passes_at(self) -> float:
        """When what is sent now is there: not before the cut has healed."""
        healed = self.network.weather.cut.get(self.process, 0.0)
        return max(healed, self.network.loop.now) + self.network.delay()

    def _swallowed(self) -> bool:
        """In a cut, some connections lose what is sent; others have it sent again later."""
        if not self._doomed and self.network.is_cut(self.process):
            self._doomed = self.network.strikes(0.5, "connection swallowed")
        if self._doomed:
            self.network.loop.call_later(
                COMMAND_TIMEOUT_S, self._timed_out, context=self.process.context
            )
        return self._doomed

    def _deliver(self, command: Command, reply: Any) -> None:
        if self.lost is not None:
            return
        self._commands.remove(command)
        if command.future.done():
            return  # its caller went away
        if isinstance(reply, Exception):
            command.future.set_exception(reply)
        else:
            command.future.set_result(reply)

    def _timed_out(self) -> None:
        if self.lost is None:
            self.fail(redis.exceptions.TimeoutError("no answer in time"))

    def fail(self, error: Exception) -> None:
        """The connection is gone: of what is under way some arrives, none is answered."""
        if self.lost is not None:
            return
        self.lost = error
        for command in self.sever():
            if not command.future.done():
                self.network.loop.call_soon(
                    _fail, command.future, error, context=self.process.context
                )

    def sever(self) -> list[Command]:
        """Commands that were under way; those from a drawn one on never arrive."""
        under_way = list(self._commands)
        self._commands.clear()
        ahead = [command for command in under_way if not command.arrived]
        kept = self.network.dice.randint(0, len(ahead))
        for command in ahead[kept:]:
            command.gone = True
        for command in under_way:
            if command in self.network.waiting:
                self.network.waiting.remove(command)
        return under_way

    def _peer_died(self) -> None:
        if self.lost is None:
            self.lost = redis.exceptions.ConnectionError("the process died")
            self.sever()


def _fail(future: SimFuture, error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


class Command:
    """One command on its way."""

    def __init__(self, link: Link, args: tuple[Any, ...], future: SimFuture) -> None:
        self.link = link
        self.future = future
        self.arrived = self.gone = False
        self.keys: tuple[str, ...] = ()  # that a blocking read waits for
        self._popped = args[0] == "BLPOP"
        self._args, self._until = self._unblocked(args)

    def _unblocked(self, args: tuple[Any, ...]) -> tuple[tuple[Any, ...], float]:
        """A blocking read as a plain one, and how long (s) it is willing to wait."""
        if args[0] == "BLPOP":
            self.keys = tuple(map(str, args[1:-1]))
            return ("LPOP", self.keys[0]), float(args[-1])
        if str(args[0]).upper() not in READS or "BLOCK" not in args:
            return args, 0.0
        at = args.index("BLOCK")
        self.keys = (str(args[args.index("STREAMS") + 1]),)
        return args[:at] + args[at + 2 :], float(args[at + 1]) / 1000

    def arrive(self) -> None:
        """At the server, if nothing was in the way."""
        network, link = self.link.network, self.link
        if self.gone:
            return
        stalled = network.weather.stalled_until
        if stalled > network.loop.now:
            network.at(stalled, self.arrive)
            return
        if link.lost is None and network.strikes(network.weather.lose_command, "command lost"):
            self.gone = True
            link.fail(redis.exceptions.ConnectionError("connection reset"))
            return
        self.arrived = True
        if self._until:
            self._until += network.loop.now
            network.at(self._until, self._give_up)
        self.execute()

    def execute(self) -> None:
        """Run it; a blocking read that finds nothing waits."""
        network, link = self.link.network, self.link
        if link.lost is not None and self.keys:
            return  # nobody listens any more
        if network.weather.refused_until > network.loop.now:
            network.faults["write refused"] += 1
            link.answer(self, ReadOnlyError("READONLY You can't write against a read only replica"))
            return
        try:
            ran = self._run()
        except redis.exceptions.RedisError as error:
            if str(self._args[0]).startswith("EVAL") and type(error) is ResponseError:
                network.raised(link.process, self._args, error)
            link.answer(self, error)
            return
        network.happened(link.process, self._args, ran)
        network.changed(ran)
        if self._until > network.loop.now and ran.reply is None:
            network.waiting.append(self)
            return
        self._until = 0.0
        if link.lost is None and network.strikes(network.weather.lose_answer, "answer lost"):
            link.fail(redis.exceptions.ConnectionError("connection reset"))
        elif link.lost is None:
            popped = self._popped and ran.reply is not None
            link.answer(self, [self._args[1].encode(), ran.reply] if popped else ran.reply)

    def _run(self) -> Ran:
        """Run it; of several lists the first that has something is popped."""
        ran = self.link.network.server.run(self._args)
        for key in self.keys[1:] if self._popped else ():
            if ran.reply is None:
                self._args, gone = ("LPOP", key), ran.effects
                ran = self.link.network.server.run(self._args)
                ran.effects[:0] = gone
        if self._popped and ran.reply is None:
            self._args = ("LPOP", self.keys[0])
        return ran

    def _give_up(self) -> None:
        if self in self.link.network.waiting:
            self.link.network.waiting.remove(self)
            self.link.answer(self, None)
