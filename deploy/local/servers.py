"""The Redis and the model repository of a cluster: named ones, or ones that run as long as it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from deploy.local.folders import wait_unlocked
from deploy.local.redis_server import RedisServer, start_redis
from deploy.local.s3_server import S3Server, start_s3
from shared.repository import Repository, open_repository
from shared.repository.options import options_of
from shared.setting import mask_url


class Servers:
    """Call `start` first and `stop` last; only what was started here is stopped.

    redis_url    a Redis that runs already; empty starts one on `folder`/redis
    repository   a store that runs already, or the URL of a repository; None starts a store on
                 `folder`/s3
    cells        how many there are: each has a Redis of its own, on `folder`/redis-2 and so on, or
                 all are in the one that runs already
    """

    def __init__(
        self, folder: Path, redis_url: str, repository: S3Server | str | None, cells: int = 1
    ) -> None:
        self.redis_server: RedisServer | None = None
        self.more_redis: list[RedisServer] = []
        self._cells = cells
        self.store = repository if isinstance(repository, S3Server) else None
        self._folder = folder
        self._redis_url = redis_url
        self._repository_url = repository if isinstance(repository, str) else None
        self._started = ExitStack()

    def start(self, report: Callable[[str, str], None]) -> None:
        """Start what was not named; `report` gets the name and the address of each server."""
        if not self._redis_url:
            wait_unlocked(self._folder / "redis")
            self.redis_server = start_redis(self._folder / "redis")
            self._started.callback(self._stop_redis, 0)
            for _ in range(1, self._cells):
                self.add_redis()
        report("redis", ", ".join(dict.fromkeys(map(mask_url, self.redis_urls))))
        if self._repository_url is None and self.store is None:
            wait_unlocked(self._folder / "s3")
            self.store = start_s3(self._folder / "s3")
            self._started.callback(self.store.stop)
        report("repository", self.repository_url)

    def stop(self) -> None:
        """Stop the store, then Redis."""
        self._started.close()

    def add_redis(self) -> None:
        """Start the Redis of one more cell."""
        folder = self._folder / f"redis-{len(self.more_redis) + 2}"
        wait_unlocked(folder)
        self.more_redis.append(start_redis(folder))
        self._started.callback(self._stop_redis, len(self.more_redis))

    @property
    def redis_urls(self) -> list[str]:
        """That of each cell."""
        if self.redis_server is None:
            return [self.redis_url] * self._cells
        return [self.redis_url, *(server.url for server in self.more_redis)]

    @property
    def redis_url(self) -> str:
        """What REDIS_URL takes."""
        return self.redis_server.url if self.redis_server else self._redis_url

    @property
    def repository_url(self) -> str:
        """What MODEL_REPOSITORY takes."""
        return self.store.url if self.store else self._repository_url or ""

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a process finds both; they hold secrets. Code is trusted in a
        store of ours only: what is in there, we published."""
        env = {"REDIS_URL": self.redis_url, "MODEL_REPOSITORY": self.repository_url}
        if self.store is None:
            return env
        # A session token of the user's own AWS account would be sent to our server.
        own = {"AWS_SESSION_TOKEN": "", "WARMROUTE_TRUST_CODE": self.store.url}
        return {**env, **self.store.environment, **own}

    def open_repository(self, endpoint_url: str | None = None) -> Repository:
        """The repository, for publishing; `endpoint_url` is that of a named S3 store."""
        if self.store is not None:
            return self.store.open_repository()
        named = {"S3_ENDPOINT_URL": endpoint_url} if endpoint_url else {}
        return open_repository(self.repository_url, **options_of({**os.environ, **named}))

    def _stop_redis(self, at: int) -> None:
        """Stop the one that runs now: a test may have started another one on the folder."""
        server = self.more_redis[at - 1] if at else self.redis_server
        if server is not None:
            server.stop()
