"""The first answer of Redis to a process that starts: tried for some seconds, then a clear reason.

A Redis that restarts, reads its data or has as many connections as it takes is often back within
seconds; a process that ended at once would need someone to start it again. What does not pass by
itself (a wrong password) ends the process at once.
"""

from __future__ import annotations

import asyncio
from typing import Any

import redis.exceptions
from redis.asyncio import Redis

from shared import clock
from shared.backoff import wait_s
from shared.channel import Channel
from shared.errors import ConfigError
from shared.location import location_of
from shared.refusals import MEANING, NotSent, word_of
from shared.setting import mask_url

TRY_S = 5.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 1.0
FINAL = ("NOAUTH", "WRONGPASS", "NOPERM")


async def first_info(client: Redis, url: str, cell: str = "") -> dict[str, Any]:
    """What INFO answers; ConfigError with the reason if Redis cannot be used for `TRY_S`."""
    until, failures = clock.monotonic() + TRY_S, 0
    while True:
        try:
            return await client.info()
        except redis.exceptions.RedisError as error:
            failures += 1
            word = word_of(error) or await _refusal(url)
            wait = wait_s(failures, FIRST_WAIT_S, LONGEST_WAIT_S)
            rejected = isinstance(error, redis.exceptions.AuthenticationError)
            if rejected or word in FINAL or clock.monotonic() + wait > until:
                # redis-py takes off the word by which a wrong password differs from a missing one.
                reason = f"{word}, {MEANING[word]}" if word and not rejected else error
                said = f"{mask_url(url)} cannot be used: {reason}"
                trouble = location_of(url, cell).trouble()
                raise ConfigError(f"REDIS_URL: {said}{trouble}") from error
        await asyncio.sleep(wait)


async def _refusal(url: str) -> str:
    """The word with which Redis closes a new connection, '' if it says none. redis-py hides it
    behind the lost connection."""
    channel = Channel(url)
    try:
        await channel.execute_command("PING")
    except NotSent:
        return ""
    except redis.exceptions.RedisError as error:
        return word_of(error)
    finally:
        await channel.aclose()
    return ""
