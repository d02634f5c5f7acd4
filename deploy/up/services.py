"""The servers that the stack stands on: those that were named, or embedded ones."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from deploy.local.folder_lock import folder_lock
from deploy.local.redis_server import start_redis
from deploy.local.s3_server import S3Server, start_s3
from deploy.up.runfolder import RunFolder
from deploy.up.settings import UpSettings
from shared.errors import ConfigError
from shared.repository import Repository, open_repository
from shared.setting import mask_url

STILL_STOPPING_S = 15.0


@dataclass(frozen=True)
class Services:
    """`env` is how every process finds them; it holds secrets. `trusted` is the repository's URL
    if it is our own: what is in there, we published."""

    repository: Repository
    trusted: str | None
    env: Mapping[str, str] = field(repr=False)


@contextmanager
def start_services(settings: UpSettings, folder: RunFolder, console: Console) -> Iterator[Services]:
    """Redis and a repository, until the end of the block; only what was started here is stopped."""
    with ExitStack() as stack:
        redis_url = settings.redis_url or _start_redis(folder.redis, stack)
        console.print(f"Redis       {mask_url(redis_url)}")
        env = {"REDIS_URL": redis_url}
        if settings.model_repository is not None:
            url, trusted = settings.model_repository, None
            endpoint = os.environ.get("S3_ENDPOINT_URL") or None
            repository = open_repository(url, endpoint_url=endpoint)
        else:
            s3 = _start_s3(folder.s3, stack)
            url = trusted = s3.url
            # A session token of the user's own AWS account would be sent to our server.
            env |= {**s3.environment, "AWS_SESSION_TOKEN": ""}
            repository = _open(s3)
        console.print(f"repository  {url}")
        repository.check()
        yield Services(repository, trusted, {**env, "MODEL_REPOSITORY": url})


def _start_redis(folder: Path, stack: ExitStack) -> str:
    _wait_for(folder)
    redis = start_redis(folder)
    stack.callback(redis.stop)
    return redis.url


def _start_s3(folder: Path, stack: ExitStack) -> S3Server:
    _wait_for(folder)
    s3 = start_s3(folder)
    stack.callback(s3.stop)
    return s3


def _open(s3: S3Server) -> Repository:
    return open_repository(
        s3.url,
        endpoint_url=s3.endpoint_url,
        region=s3.region,
        access_key=s3.access_key,
        secret_key=s3.secret_key,
    )


def _wait_for(folder: Path) -> None:
    """A run that was killed leaves a server that is still stopping; a moment later it is gone."""
    ends = time.monotonic() + STILL_STOPPING_S
    while True:
        try:
            with folder_lock(folder):
                return
        except ConfigError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.1)
