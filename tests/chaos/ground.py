"""The processes of a chaos run: S3, Redis, gateways, workers, and a link before each server.

Each gateway and each worker reaches Redis over a link of its own, and S3 over a common one, so
that any of them can be cut off alone.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy.local.ports import LOOPBACK, free_ports
from deploy.local.redis_server import start_redis
from deploy.local.s3_server import start_s3
from shared.shared_memory import open_shared_memory
from tests.chaos.links import Links
from tests.chaos.models import Zoo, publish_zoo
from tests.chaos.slot import READY_S, Slot
from tests.helpers.stack import CELL, Stack
from tests.helpers.wait import came_true

MODELS, MODEL_BYTES = 24, 400_000
MEMORY_BYTES = 4_000_000  # of each worker: both together hold fewer models than there are
DISK_BYTES = 6_000_000  # the disk cache too, so that S3 is asked all the time
T = TypeVar("T")


class Ground:
    """All of it. Close it in the end; nothing is left."""

    def __init__(
        self, folder: Path, *, workers: int = 2, gateways: int = 2, **settings: str
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._numbers = {"worker": workers, "gateway": gateways}
        self._closing = ExitStack()
        try:
            self._open(folder, settings)
        except BaseException:
            self._closing.close()
            raise

    def _open(self, folder: Path, settings: dict[str, str]) -> None:
        self.links = self._closed(Links(), Links.close)
        s3 = start_s3(folder / "s3")
        self._closing.callback(s3.stop)
        self.s3_link = self.links.to(s3.endpoint_url)
        self.stack = self._closing.enter_context(
            Stack(folder / "cell", s3, {**self._usual(folder), **settings})
        )
        self.zoo: Zoo = publish_zoo(self.stack.repository, folder, count=MODELS, size=MODEL_BYTES)
        self.redis = open_client(self.stack.redis_server.url)
        self.workers, self.gateways = self._slots("worker"), self._slots("gateway")
        self._share_memory(folder / "memory")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()

    @property
    def slots(self) -> list[Slot]:
        """All that should run."""
        return [*self.gateways, *self.workers]

    @property
    def redis_port(self) -> int:
        """Stays the same over restarts."""
        return int(self.stack.redis_server.url.rpartition(":")[2].partition("/")[0])

    def start(self) -> None:
        """Start everything, and wait until it is ready."""
        for slot in self.slots:
            slot.start()
        self.await_ready()

    def await_ready(self) -> None:
        """Until every process that should run is ready."""
        for slot in self.slots:
            slot.await_ready()

    def not_ready(self, within_s: float = READY_S) -> list[str]:
        """Processes that should run and do not become ready, one by one."""
        late = [slot.name for slot in self.slots if not came_true(lambda s=slot: s.ready, within_s)]
        return [f"{name} is not ready {within_s:g} s after everything was healed" for name in late]

    def kill_redis(self) -> None:
        """`kill -9`."""
        self.stack.redis_server.child.kill()

    def start_redis_again(self) -> None:
        """On the same port and the same append-only file."""
        self.stack.redis_server = start_redis(self.stack.folder / "redis", port=self.redis_port)

    def _usual(self, folder: Path) -> dict[str, str]:
        return {
            "S3_ENDPOINT_URL": self.s3_link.address,
            "WARMROUTE_MEMORY_BYTES": str(MEMORY_BYTES),
            "WARMROUTE_DISK_CACHE_BYTES": str(DISK_BYTES),
            "WARMROUTE_SHARED_MEMORY": str(folder / "memory"),
            "WARMROUTE_UNLOADABLE_S": "1",
            "WARMROUTE_CATALOG_TTL_S": "1",
            "WARMROUTE_DRAIN_S": "10",
        }

    def _slots(self, kind: str) -> list[Slot]:
        return [self._slot(kind, number + 1) for number in range(self._numbers[kind])]

    def _slot(self, kind: str, number: int) -> Slot:
        name, link = f"{kind}-{number}", self.links.to(self.stack.redis_server.url)
        settings, url = {"REDIS_URL": link.url}, ""
        if kind == "worker":
            settings["WARMROUTE_WORKER_ID"] = name
        else:
            port = free_ports(1)[0]
            settings["PORT"], url = str(port), f"http://{LOOPBACK}:{port}"
        module = "worker" if kind == "worker" else "router"
        slot = Slot(name, module, self.stack, self.redis, link, settings, url)
        return self._closed(slot, Slot.kill)

    def _share_memory(self, folder: Path) -> None:
        """Processes find their common memory by Redis's URL; here each has another URL."""
        folder.mkdir()
        for slot in self.slots:
            open_shared_memory(str(folder), CELL, slot.settings["REDIS_URL"])
        first, *others = sorted(folder.iterdir())
        for other in others:
            for file in other.iterdir():
                file.unlink()
            other.rmdir()
            other.symlink_to(first)

    def _closed(self, thing: T, close: Callable[[T], None]) -> T:
        self._closing.callback(close, thing)
        return thing


def accepts_and_keeps(port: int) -> bool:
    """Whether a connection to it stays open for a moment."""
    try:
        with socket.create_connection((LOOPBACK, port), 2) as connection:
            connection.settimeout(0.3)
            return connection.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def open_client(url: str) -> redis.Redis:
    """One that fails at once while Redis is away, and may be used by several threads."""
    return redis.Redis.from_url(
        url, socket_timeout=5, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
    )


def accepts(port: int) -> bool:
    """Whether a server listens there."""
    try:
        with socket.create_connection((LOOPBACK, port), 2):
            return True
    except OSError:
        return False
