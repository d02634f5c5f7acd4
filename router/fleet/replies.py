"""Replies about many names in one pipeline: a key that holds another type than it should (of
another release, say, or by mistake) fails alone and hides no other name."""

from __future__ import annotations

from typing import Any

from redis.asyncio.client import Pipeline
from redis.exceptions import ResponseError


async def replies_of(pipe: Pipeline, *nothing: Any) -> list[Any]:
    """The replies to the commands of `pipe`, which come in groups as long as `nothing`: what stands
    there is the reply of a key of another type. Other errors are raised, as redis-py's."""
    replies = await pipe.execute(raise_on_error=False) if len(pipe) else []
    for at, reply in enumerate(replies):
        if is_of_another_type(reply):
            replies[at] = nothing[at % len(nothing)]
        elif isinstance(reply, Exception):
            raise reply
    return replies


def is_of_another_type(reply: object) -> bool:
    """Whether Redis refused a command since the key holds another type."""
    return type(reply) is ResponseError and str(reply).startswith("WRONGTYPE")
