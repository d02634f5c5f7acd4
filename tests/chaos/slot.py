"""A place where a process should run: faults end processes, `Slot.start` puts another one there.

It has the same name and the same port as the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import redis

from tests.chaos.links import Link
from tests.helpers.http import ask
from tests.helpers.pair import Process
from tests.helpers.stack import Stack
from tests.helpers.wait import came_true

READY_S = 60.0


@dataclass
class Slot:
    """A gateway or a worker that should run."""

    name: str
    module: str
    stack: Stack
    redis: redis.Redis
    link: Link
    settings: dict[str, str] = field(default_factory=dict)
    url: str = ""
    process: Process | None = None
    last_epoch: int = 0  # of the process before this one

    @property
    def running(self) -> bool:
        """Whether its first process is there."""
        return self.process is not None and self.process.running

    @property
    def pids(self) -> list[int]:
        """All its processes, parents first."""
        return self.stack.pids(self.process) if self.process and self.running else []

    @property
    def device_pid(self) -> int:
        """The process that runs models; 0 while there is none."""
        return self.stack.device_pid(self.process) if self.process else 0

    @property
    def epoch(self) -> int:
        """The counter in the worker's epoch; 0 while it has none, or Redis does not answer."""
        try:
            epoch = self.redis.hget(self.stack.keys.worker(self.name), "epoch") or b"0"
            return int(epoch.partition(b"-")[0])
        except (OSError, redis.RedisError):
            return 0

    @property
    def ready(self) -> bool:
        """Whether the cell can use it."""
        if not self.running:
            return False
        try:
            return self._serves() if self.url else self._registered()
        except (OSError, redis.RedisError):
            return False

    def start(self) -> None:
        """Start a process here, not waited for."""
        self.last_epoch = max(self.last_epoch, 0 if self.url else self.epoch)
        child = self.stack.launch(self.module, self.name, self.settings)
        self.process = Process(self.name, child, self.url)

    def await_ready(self, within_s: float = READY_S) -> None:
        """Return when it is ready; starts it again if it ended while nobody looked."""

        def there() -> bool:
            if not self.running:
                self.start()
            return self.ready

        assert came_true(there, within_s), f"{self.name} is not ready in {within_s:g} s"

    def kill(self) -> None:
        """`kill -9` of all of it."""
        if self.process is not None:
            self.stack.kill(self.process)

    def _serves(self) -> bool:
        return ask(self.url, "GET", "/v2/health/ready").status == 200

    def _registered(self) -> bool:
        keys, client = self.stack.keys, self.redis
        state = client.hget(keys.worker(self.name), "state")
        mine = self.epoch > self.last_epoch
        return mine and state == b"ready" and client.zscore(keys.workers, self.name) is not None
