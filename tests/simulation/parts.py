"""What the simulation puts in the place of sockets, threads, devices and subprocesses.

Everything else is the product's own code, composed by its own composition roots.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from shared.footprint import Footprint
from tests.simulation.lane import Crashed
from tests.simulation.link import SimChannel
from tests.simulation.loop import PROCESS, SimFuture
from tests.simulation.process import Process
from worker.heartbeat import HeartbeatThread
from worker.residency.ledger import Ledger
from worker.supervisor.child import Child
from worker.supervisor.progress import Progress

if TYPE_CHECKING:
    from shared.scripts import Completion
    from tests.simulation.world import World
    from worker.serving.completions import Completions


def here() -> Process:
    """The process whose code runs now."""
    process = PROCESS.get()
    assert process is not None
    return process


def exit_here(status: int) -> None:
    """`os._exit`."""
    here().exit(status)
    raise Crashed


def telling(put: Callable[..., None], told: Callable[[Process, str], None]) -> Any:
    """`Completions._put`; `told` hears of the entry whose outcome is on its way to Redis."""

    def put_and_tell(self: Completions, completion: Completion, *when: float) -> None:
        told(here(), completion.entry.decode())
        put(self, completion, *when)

    return put_and_tell


def parent_of_here() -> int:
    """`os.getppid`."""
    parent = here().peer
    return parent.serial if parent is not None and parent.alive else 1


class SimHeart(HeartbeatThread):
    """The heart, whose thread is a task here."""

    def __init__(
        self, config: Any, membership: Any, progress: Any, orders: Any = None, *rest: Any
    ) -> None:
        super().__init__(config, membership, progress, orders, exit_here)
        self._thread = _Thread(self._beat)  # type: ignore[assignment]

    def _on_main(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        return asyncio.ensure_future(work)


class _Thread:
    """Runs a coroutine where a thread would run it in a loop of its own."""

    def __init__(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._run = run

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def join(self, timeout: float | None = None) -> None:
        """It ends with its process."""


class SimProgress(Progress):
    """The end of a batch shows only when its time on the device is over."""

    def end(self) -> None:
        here().loop.after_work.append(super().end)


class CheckedLedger(Ledger):
    """Asserts the budget at every change."""

    def reserve(self, ref: str, footprint: Footprint, group: str = "") -> None:
        super().reserve(ref, footprint, group)
        assert self.used <= self.budget, f"I19: reserved {self.used} of {self.budget} bytes"

    def correct(self, ref: str, footprint: Footprint) -> bool:
        fits = super().correct(ref, footprint)
        assert self.used <= self.budget, f"I19: resident {self.used} of {self.budget} bytes"
        return fits


class Line:
    """One end of the line between a parent and its device process."""

    def __init__(self, owner: Process) -> None:
        self.owner = owner
        self.peer: Line = self
        self._heard: deque[dict[str, Any]] = deque()
        self._waiter: SimFuture | None = None
        self._over = False

    @classmethod
    def pair(cls, one: Process, other: Process) -> tuple[Line, Line]:
        """Both ends. The end of either process is the end of the line."""
        first, second = cls(one), cls(other)
        first.peer, second.peer = second, first
        one.ended.append(second.hang_up)
        other.ended.append(first.hang_up)
        return first, second

    def send(self, **message: Any) -> None:
        peer = self.peer
        self.owner.loop.call_later(0.0002, peer._arrived, message, context=peer.owner.context)

    async def receive(self) -> dict[str, Any] | None:
        while not self._heard and not self._over:
            self._waiter = self.owner.loop.create_future()
            await self._waiter
        return self._heard.popleft() if self._heard else None

    def close(self) -> None:
        self._over = True

    def hang_up(self) -> None:
        """The other process has ended; what it said before is heard first."""
        self.owner.loop.call_later(0.001, self._hung_up, context=self.owner.context)

    def _hung_up(self) -> None:
        self._over = True
        self._wake()

    def _arrived(self, message: dict[str, Any]) -> None:
        self._heard.append(message)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class SimSubprocess:
    """`asyncio.subprocess.Process` of a simulated process."""

    def __init__(self, process: Process, parent: Process) -> None:
        self.process = process
        self.pid = process.serial
        self._ended = parent.loop.create_future()
        process.ended.append(
            lambda: parent.loop.call_later(0.002, self._reaped, context=parent.context)
        )

    def _reaped(self) -> None:
        if not self._ended.done():
            self._ended.set_result(self.process.status)

    async def wait(self) -> int:
        return await self._ended  # type: ignore[no-any-return]

    def send_signal(self, number: int) -> None:
        if not self.process.alive:
            raise ProcessLookupError
        if number == signal.SIGKILL and self.process.paused:
            self.process.killed_in_pause_s = self.process.loop.now - self.process.paused_at
        self.process.signal(number)


class SimChild(Child):
    """A device process that is simulated."""

    world: World

    @classmethod
    async def start(
        cls, env: Mapping[str, str], hot: Sequence[str], served_before: bool, suspect: str = "",
        inherited: Sequence[int] = (),
    ) -> Self:  # fmt: skip
        await asyncio.sleep(cls.world.dice.uniform(0.05, 0.6))  # interpreter, torch, device
        parent = here()
        process = cls.world.new_process(f"{env['WARMROUTE_WORKER_ID']}/device")
        process.peer = parent
        parent.ended.append(lambda: process.alive and process.signal(signal.SIGTERM))
        near, far = Line.pair(parent, process)
        progress = SimProgress()
        cls.world.run_device(process, env, far, progress)
        near.send(hot=list(hot), served_before=served_before, suspect=suspect)
        return cls(SimSubprocess(process, parent), near, progress)  # type: ignore[arg-type]

    def stopped(self) -> bool:
        subprocess: Any = self._process
        return bool(subprocess.process.paused)


def make_channel(world: World) -> Callable[[str], SimChannel]:
    """What stands for `Channel`."""
    return lambda url: world.channel()
