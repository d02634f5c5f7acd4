"""Named moments at which a test makes this process die, stop, wait or fail.

    WARMROUTE_FAILPOINT=complete.before:kill@2,run.mid:sleep=200@0.1
    WARMROUTE_FAILPOINT=@/tmp/points       the same text in a file, looked at again at each arrival
    WARMROUTE_FAILPOINT_SEED=7             chance of the same seed falls the same way
    WARMROUTE_FAILPOINT_LOG=/tmp/points    a line `name action pid` is added before acting

| action | what happens there |
|---|---|
| `kill` | SIGKILL to itself, as the out-of-memory killer does it |
| `stop` | SIGSTOP to itself, until it gets SIGCONT |
| `sleep=MS` | it waits for that time (`reach` lets the event loop go on, `reach_now` does not) |
| `raise` | `Unavailable`: after a script, as if its answer had been lost |

`@n` acts the n-th time the point is reached (default: the first), and then never again, nor in any
later process with the same log: a restarted process lives. `@0.1`, with a dot, acts each time with
that probability. Points are `<script>.before` and `<script>.after` for every script
(`script_runner.py`), and those that the code names itself. Each process
arms them with `arm`; unset, as it is outside of tests, `ACTIVE` is False and nothing happens here.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import ConfigError, Unavailable

ACTIONS = ("kill", "stop", "sleep", "raise")
_ARMED = re.compile(r"([a-z_.]+):(kill|stop|raise|sleep=(\d+))(?:@(\d*\.\d+|\d+))?")


@dataclass
class Armed:
    """One point that acts: at the `nth` time, or each time with `chance`."""

    name: str
    action: str
    sleep_s: float
    nth: int
    chance: float
    dice: random.Random
    reached: int = 0
    done: bool = False

    def due(self) -> bool:
        """Count one arrival; whether it is the one to act at."""
        if self.chance:
            return self.dice.random() < self.chance
        self.reached += 1
        if self.done or self.reached != self.nth:
            return False
        self.done = True
        return True


@dataclass
class Points:
    """The armed points of one process. Threads may arrive at the same time."""

    armed: list[Armed]
    log: Path | None = None
    seed: str = "0"
    file: Path | None = None
    _text: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def arrive(self, name: str) -> float:
        """Act if it is time to; seconds that the caller is to wait. Unavailable for `raise`."""
        with self._lock:
            self._look_again()
            due = [point for point in self.armed if point.name == name and point.due()]
            for point in due:
                self._note(point)
        for point in due:
            _act(point)
        return sum(point.sleep_s for point in due)

    def _look_again(self) -> None:
        """Who counts arrivals begins anew with each change of the file."""
        text = self.file.read_text().strip() if self.file is not None else self._text
        if text != self._text:
            self._text = text
            self.armed = _parsed(text, self.seed, self.log)

    def _note(self, point: Armed) -> None:
        """One write of one line: it is whole, and it is there although the process dies next."""
        if self.log is None:
            return
        line = f"{point.name} {point.action} {os.getpid()}\n".encode()
        file = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line)
        finally:
            os.close(file)


def _act(point: Armed) -> None:
    if point.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif point.action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif point.action == "raise":
        raise Unavailable(f"failpoint {point.name}")


def read(env: Mapping[str, str]) -> Points:
    """The points that an environment arms; ConfigError if it cannot be read."""
    text, seed = env.get("WARMROUTE_FAILPOINT", ""), env.get("WARMROUTE_FAILPOINT_SEED", "0")
    log = Path(env["WARMROUTE_FAILPOINT_LOG"]) if env.get("WARMROUTE_FAILPOINT_LOG") else None
    if text.startswith("@"):
        return Points([], log, seed, Path(text[1:]))
    return Points(_parsed(text, seed, log), log, seed, _text=text)


def _parsed(text: str, seed: str, log: Path | None) -> list[Armed]:
    acted = _acted(log)
    return [_armed(part.strip(), seed, acted) for part in text.split(",") if part]


def _acted(log: Path | None) -> set[tuple[str, ...]]:
    """Name and action of whatever was done before, here or in an earlier process."""
    if log is None or not log.exists():
        return set()
    return {tuple(line.split(" ")[:2]) for line in log.read_text().splitlines()}


def _armed(text: str, seed: str, acted: set[tuple[str, ...]]) -> Armed:
    match = _ARMED.fullmatch(text)
    if match is None:
        raise ConfigError(f"WARMROUTE_FAILPOINT: {text!r}, want name:action[@n]")
    name, action, sleep_ms, when = match.groups()
    action = action.partition("=")[0]
    chance = float(when) if when and "." in when else 0.0
    return Armed(
        name=name, action=action, sleep_s=int(sleep_ms or 0) / 1000,
        nth=1 if chance else int(when or 1), chance=chance,
        dice=random.Random(f"{seed} {name}"), done=(name, action) in acted,
    )  # fmt: skip


_points = Points([])
ACTIVE = False


def arm(env: Mapping[str, str]) -> None:
    """Arm the points that the environment of this process names, before anything else runs;
    ConfigError if they cannot be read."""
    global _points, ACTIVE
    _points = read(env)
    ACTIVE = bool(_points.armed or _points.file)


async def reach(name: str) -> None:
    """The event loop is at point `name`."""
    if not ACTIVE:
        return
    wait_s = _points.arrive(name)
    if wait_s:
        await asyncio.sleep(wait_s)


def reach_now(name: str) -> None:
    """A thread (or code without awaits) is at point `name`."""
    if ACTIVE:
        time.sleep(_points.arrive(name))
