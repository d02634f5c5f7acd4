"""A device process that requests a restart: what the next one loads, and how often."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from shared import clock
from shared.config import WorkerConfig
from worker.supervisor import parent as parents
from worker.supervisor.child import Child
from worker.supervisor.parent import Parent
from worker.supervisor.progress import Progress
from worker.supervisor.restart import (
    DRAINED,
    GIVEN_UP,
    MAX_REQUESTS,
    RECYCLED,
    WITHIN_S,
    RestartRequest,
    RestartRequestRate,
)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moment that the clock shows, to be set."""
    moment = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: moment[0])
    return moment


def test_a_request_is_refused_for_a_while(now: list[float]) -> None:
    """Until the time is over."""
    restart = RestartRequest()
    restart.not_before(600)
    assert not restart.request("it leaks") and restart.reason == ""
    now[0] += 600
    assert (
        restart.request("it leaks")
        and restart.request("it leaks more")
        and restart.reason == "it leaks"
    )


def test_a_process_that_was_asked_to_stop_is_not_replaced() -> None:
    """Whatever it had asked for."""
    restart = RestartRequest()
    restart.request("it leaks")
    restart.withdraw()
    assert restart.reason == ""


def test_three_within_ten_minutes_are_too_many(now: list[float]) -> None:
    """Now and then is all right."""
    requests = RestartRequestRate()
    for _ in range(10):
        assert not requests.too_many()
        now[0] += WITHIN_S / 2
    assert (MAX_REQUESTS, WITHIN_S) == (3, 600)
    assert [RestartRequestRate().too_many() for _ in range(5)] == [False] * 5
    requests = RestartRequestRate()
    assert [requests.too_many() for _ in range(4)] == [False, False, True, True]


class Line:
    """The parent's end of the line to a device process."""

    def __init__(self, said: Sequence[dict[str, Any]]) -> None:
        self.said, self.told = list(said), []

    async def receive(self) -> dict[str, Any] | None:
        return self.said.pop(0) if self.said else None

    def send(self, **message: Any) -> None:
        self.told.append(message)

    def close(self) -> None:
        """Nothing to close."""


class Process:
    """A device process that ends by itself, or when it is told to."""

    pid = 1 << 30

    def __init__(self, status: int | None) -> None:
        self.status, self.signals, self._over = status, [], asyncio.Event()

    async def wait(self) -> int:
        if self.status is None:
            await self._over.wait()
        assert self.status is not None
        return self.status

    def send_signal(self, number: signal.Signals) -> None:
        self.signals.append(number)
        self.status = RECYCLED  # it was about to leave when the signal came
        self._over.set()


Life = tuple[int | None, list[dict[str, Any]]]


class Children:
    """Device processes one after the other, each with an end and what it says before it."""

    def __init__(self, *lives: Life) -> None:
        self._lives = list(lives)
        self.started: list[tuple[list[str], bool]] = []
        self.lines: list[Line] = []
        self.at_start: Callable[[int], object] = lambda number: None

    async def start(
        self, env: Mapping[str, str], hot: Sequence[str], served_before: bool,
        suspect: str = "", inherited: Sequence[int] = (),
    ) -> Child:  # fmt: skip
        self.started.append((list(hot), served_before))
        status, said = self._lives.pop(0)
        self.lines.append(Line(said))
        child = Child(Process(status), self.lines[-1], Progress())  # type: ignore[arg-type]
        self.at_start(len(self.started))
        return child

    @property
    def refused(self) -> list[list[dict[str, Any]]]:
        """What was told to each after its start."""
        return [line.told for line in self.lines]


def lived(status: int | None, *hot: str) -> Life:
    """Registered, held `hot`; asked to be replaced before it let go of them, if it did."""
    said: list[dict[str, Any]] = [{"epoch": "1"}, {"hot": list(hot)}]
    if status == RECYCLED:
        said += [{"hot": list(hot), "recycling": True}, {"hot": []}]
    return status, said


def parent_of(children: Children, monkeypatch: pytest.MonkeyPatch) -> tuple[Parent, list[Any]]:
    """A parent of these, and what it gives up in Redis."""
    monkeypatch.setattr(parents, "Child", children)
    parent = Parent(WorkerConfig(redis_url="redis://127.0.0.1:1/0", worker_id="w1"), {})
    given_up: list[Any] = []
    monkeypatch.setattr(parent._fencing, "fence", lambda *given: given_up.append(given))
    return parent, given_up


async def test_the_next_one_starts_at_once_with_what_it_held(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As it was before it drained. No crash: nobody is charged, none is counted or logged."""
    children = Children(lived(RECYCLED, "a", "b"), lived(DRAINED))
    parent, given_up = parent_of(children, monkeypatch)
    with caplog.at_level(logging.INFO, "worker.supervisor"):
        assert await parent.run() == DRAINED
    assert children.started == [([], False), (["a", "b"], True)]
    assert (given_up, parent._succession._backoff.crashes, children.refused) == ([], 0, [[], []])
    assert {record.levelname for record in caplog.records} == {"INFO"}


async def test_requests_for_restarts_again_and_again_are_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The one after the third has to serve for ten minutes first. What is not loaded again yet is
    not forgotten."""
    children = Children(
        lived(RECYCLED, "a", "b"), lived(RECYCLED, "b"), lived(RECYCLED, "b"), lived(DRAINED)
    )
    parent, _ = parent_of(children, monkeypatch)
    assert await parent.run() == DRAINED
    assert [hot for hot, _ in children.started] == [[], ["a", "b"], ["b", "a"], ["b", "a"]]
    assert children.refused == [[], [], [], [{"restart_not_before_s": WITHIN_S}]]
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1 and "again and again" in errors[0]


async def test_one_that_does_not_let_itself_be_held_back_is_started_later_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if it had crashed."""
    waits: list[float] = []
    children = Children(*[lived(RECYCLED)] * 6, lived(DRAINED))
    parent, _ = parent_of(children, monkeypatch)

    async def told_within(wait_s: float) -> bool:
        waits.append(wait_s)
        return False

    monkeypatch.setattr(parent, "_stopped_within", told_within)
    assert await parent.run() == DRAINED
    assert waits == [0, 0, 0, 0.5, 1, 2]


async def test_a_crash_while_it_drains_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it held is known from before."""
    status, said = lived(RECYCLED, "a")
    assert status == RECYCLED
    children = Children((-signal.SIGSEGV, said), lived(DRAINED))
    parent, given_up = parent_of(children, monkeypatch)
    assert await parent.run() == DRAINED
    assert children.started[1] == (["a"], True)
    assert given_up == [("1", 0, "its device process was killed by SIGSEGV", True)]


@pytest.mark.parametrize(("forced", "final"), [(False, DRAINED), (True, GIVEN_UP)])
async def test_a_signal_to_stop_ends_the_pair_all_the_same(
    monkeypatch: pytest.MonkeyPatch, forced: bool, final: int
) -> None:
    """It came while the device process was leaving to be replaced."""
    children = Children((None, [{"epoch": "1"}]))
    parent, _ = parent_of(children, monkeypatch)

    def told(number: int) -> None:
        parent._on_stop_signal()
        if forced:
            parent._on_stop_signal()

    children.at_start = told
    async with asyncio.timeout(20):
        assert await parent.run() == final
    assert len(children.started) == 1
