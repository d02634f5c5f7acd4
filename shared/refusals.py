"""The words of Redis's refusals, what each means, and its exception class.

Redis puts the word first; inside a script Redis 6.2 hides it in a longer text, and redis-py takes
it off when it makes an error of it.
"""

from __future__ import annotations

import re
from contextlib import suppress

import redis.exceptions


class MasterDown(redis.exceptions.ConnectionError):
    """A replica without its primary: redis-py has no class for it outside of clusters."""


class MaxClients(redis.exceptions.ConnectionError):
    """Redis has as many connections as it takes."""


class NotSent(redis.exceptions.ConnectionError):
    """There was no connection to send a call over: it has certainly not run."""


MEANING = {
    "OOM": "its memory is full",
    "READONLY": "it is a replica",
    "MASTERDOWN": "it is a replica that lost its primary",
    "MISCONF": "it cannot write to its disk",
    "NOREPLICAS": "too few replicas follow it",
    "LOADING": "it still reads its data",
    "BUSY": "a script blocks it",
    "MAXCLIENTS": "it has as many connections as it takes",
    "NOPERM": "its user may not do this",
    "NOAUTH": "it wants a password",
    "WRONGPASS": "its user or password is wrong",
    "NOGROUP": "a stream's group is gone",
    "UNBLOCKED": "a stream is gone",
    "MOVED": "another node of its cluster has the cell",
    "ASK": "the slot of the cell moves to another node of its cluster",
    "TRYAGAIN": "the slot of the cell moves to another node of its cluster",
    "CLUSTERDOWN": "its cluster does not serve the slot of the cell",
}
_CLASSES: dict[str, type[redis.exceptions.RedisError]] = {
    "NOSCRIPT": redis.exceptions.NoScriptError,
    "READONLY": redis.exceptions.ReadOnlyError,
    "OOM": redis.exceptions.OutOfMemoryError,
    "LOADING": redis.exceptions.BusyLoadingError,
    "MASTERDOWN": MasterDown,
    "MAXCLIENTS": MaxClients,
    "NOPERM": redis.exceptions.NoPermissionError,
    "NOAUTH": redis.exceptions.AuthenticationError,
    "TRYAGAIN": redis.exceptions.TryAgainError,
    "CLUSTERDOWN": redis.exceptions.ClusterDownError,
}
_REDIRECTS: dict[str, type[redis.exceptions.AskError]] = {
    "MOVED": redis.exceptions.MovedError,
    "ASK": redis.exceptions.AskError,
}
_KINDS = {**_CLASSES, **_REDIRECTS}
# Answers of a server that cannot serve us now, while another behind its address may.
UNUSABLE = (
    redis.exceptions.ReadOnlyError, redis.exceptions.BusyLoadingError, MasterDown, MaxClients,
    redis.exceptions.MovedError, redis.exceptions.ClusterDownError,
)  # fmt: skip
_WORD = re.compile(rf"\b({'|'.join(MEANING)})\b")
_FULL = "max number of clients reached"


def word_of(error: Exception) -> str:
    """The word of a refusal, '' for anything else (also for a connection that is lost)."""
    found = _WORD.search(str(error))
    if found:
        return found[1]
    if _FULL in str(error):
        return "MAXCLIENTS"
    return next((word for word, kind in _KINDS.items() if type(error) is kind), "")


def reply_error(text: str) -> redis.exceptions.RedisError:
    """The error of redis-py's that stands for an error reply."""
    word, _, rest = text.partition(" ")
    if word in _REDIRECTS:
        with suppress(ValueError):  # no slot and address
            return _REDIRECTS[word](rest)
    if word == "ERR":
        word = word_of(redis.exceptions.ResponseError(text))
    return _CLASSES.get(word, redis.exceptions.ResponseError)(text)


def not_sent(error: Exception) -> redis.exceptions.RedisError:
    """The error of a call that was not sent because of this one. One of its own for each caller: a
    shared one would gather all their tracebacks."""
    if isinstance(error, redis.exceptions.RedisError) and word_of(error):
        return type(error)(str(error))
    return NotSent(f"cannot connect: {error}")
