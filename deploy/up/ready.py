"""Waits until the gateway answers and the workers have reported for duty."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from warmroute import Client, ClientError

PAUSE_S = 0.1


class NotReady(Exception):
    """It did not come up in time, or a process failed; the message says which."""


async def wait_ready(
    client: Client, workers: int, failed: Callable[[], str | None], within_s: float
) -> None:
    """Return when the gateway is ready and `workers` workers are; NotReady otherwise.

    `failed` tells what has crashed so often that waiting is useless, or None.
    """
    ends = time.monotonic() + within_s
    while True:
        missing = await asyncio.to_thread(_missing, client, workers)
        if missing is None:
            return
        broken = failed()
        if broken is not None:
            raise NotReady(broken)
        if time.monotonic() > ends:
            raise NotReady(f"after {within_s:g} s: {missing}")
        await asyncio.sleep(PAUSE_S)


def _missing(client: Client, workers: int) -> str | None:
    if not client.ready():
        return "the gateway is not ready"
    try:
        ready = [worker for worker in client.workers() if worker["state"] == "ready"]
    except ClientError as error:
        return error.message
    return None if len(ready) >= workers else f"{len(ready)} of {workers} workers are ready"
