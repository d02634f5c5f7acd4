"""Trouble in Redis itself."""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack
from typing import ClassVar, Protocol

import redis

from tests.chaos.faults.base import Fault, require
from tests.chaos.ground import Ground, accepts
from tests.helpers.stack import LEASE_S
from tests.helpers.wait import came_true

PAUSE_MS = 1200
_marks = itertools.count(1)


class Server(Protocol):
    """A Redis that faults may hit."""

    redis: redis.Redis

    @property
    def redis_port(self) -> int: ...
    def kill_redis(self) -> None: ...
    def start_redis_again(self) -> None: ...


class RedisFault(Fault):
    """Something that happens to the cell's Redis."""

    def __init__(self, ground: Ground, target: Server, aim: Server | None = None) -> None:
        super().__init__(ground)
        self.target = target
        self.aim = aim or target

    def heal(self) -> None:
        """Nothing to put back."""
        came_true(self._answers, self.patience_s)

    def _answers(self) -> bool:
        try:
            return bool(self.target.redis.ping())
        except redis.RedisError:
            return False


class RestartRedis(RedisFault):
    """`kill -9`, and another start on the same append-only file."""

    kind = "kill -9 Redis"
    kills: ClassVar[bool] = True
    down_s = 0.5

    def inject(self) -> None:
        self.run_id = _run_id(self.target)
        self.aim.kill_redis()
        time.sleep(self.down_s)

    def verify(self) -> None:
        require(not accepts(self.target.redis_port), "Redis's port accepts connections")

    def heal(self) -> None:
        self.aim.start_redis_again()
        super().heal()

    def verify_healed(self) -> None:
        """It is another process, and it has just begun."""
        info = self.target.redis.info("server")
        require(info["run_id"] != self.run_id, "Redis has the run_id that it had before")
        require(info["uptime_in_seconds"] < 30, "Redis has been up for long")


class LoseRedis(RestartRedis):
    """The same, but it is away for longer than any lease lasts."""

    kind = "Redis away beyond the lease"
    down_s = LEASE_S + 0.5


class KillClients(RedisFault):
    """`CLIENT KILL TYPE normal`: every connection breaks at once."""

    kind = "CLIENT KILL"

    def inject(self) -> None:
        """What is not to be killed is the connection that asked who is there, and no other one:
        both lanes take theirs from the same pool."""
        with ExitStack() as closing:
            asking = closing.enter_context(self.target.redis.client())
            killing = asking
            if self.aim is not self.target:
                killing = closing.enter_context(self.aim.redis.client())
            self.before = _clients(asking) - {str(asking.client_id())}
            killing.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def verify(self) -> None:
        require(self.before, "nobody but this run was connected to Redis")
        left = self.before & _clients(self.target.redis)
        require(not left, f"{len(left)} of {len(self.before)} connections are still there")


class PauseClients(RedisFault):
    """`CLIENT PAUSE`: Redis takes commands and answers none for a while."""

    kind = "CLIENT PAUSE"

    def inject(self) -> None:
        self.begun_ms = _time_ms(self.target)
        self.aim.redis.execute_command("CLIENT", "PAUSE", PAUSE_MS, "ALL")

    def verify(self) -> None:
        """By the clock of Redis: a busy machine may ask only when the pause is nearly over."""
        took_ms = _time_ms(self.target) - self.begun_ms
        require(took_ms > 0.9 * PAUSE_MS, f"TIME was answered after {took_ms:.0f} ms")


class FlushScripts(RedisFault):
    """`SCRIPT FLUSH`: no EVALSHA finds its script."""

    kind = "SCRIPT FLUSH"

    def inject(self) -> None:
        text = f"return 'chaos {next(_marks)}'"
        self.mark = str(self.target.redis.script_load(text))
        self.aim.redis.script_flush()

    def verify(self) -> None:
        there = self.target.redis.script_exists(self.mark)
        require(not there[0], "a script from before is still in the cache")


def _run_id(server: Server) -> str:
    return str(server.redis.info("server")["run_id"])


def _time_ms(server: Server) -> float:
    seconds, microseconds = server.redis.time()
    return float(seconds * 1000 + microseconds / 1000)


def _clients(client: redis.Redis) -> set[str]:
    """Ids of the connections that can be killed."""
    return {str(each["id"]) for each in client.client_list(_type="normal")}
