"""What `make up` can be told, read from the environment once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.setting import MIB

# Two workers of this size hold less than half of the 30 sample models (990 MB), so that
# evictions are seen.
WORKER_MEMORY_BYTES = 200 * MIB


class BadSetting(Exception):
    """A variable that cannot be used; the message names it."""


@dataclass(frozen=True, kw_only=True)
class UpSettings:
    """`port` None takes 8000, or a free one. `once` ends after the table."""

    workers: int = 2
    web: int = 1
    port: int | None = None
    once: bool = False
    redis_url: str | None = None
    model_repository: str | None = None
    memory_bytes: str = str(WORKER_MEMORY_BYTES)


def read_settings(env: Mapping[str, str]) -> UpSettings:
    """Settings from WORKERS, WEB, PORT, ONCE, REDIS_URL, MODEL_REPOSITORY and
    WARMROUTE_MEMORY_BYTES; an empty variable counts as absent."""
    port = env.get("PORT") or None
    return UpSettings(
        workers=_number(env, "WORKERS", 2, low=1, high=64),
        web=_number(env, "WEB", 1, low=1, high=64),
        port=None if port is None else _number(env, "PORT", 0, low=1, high=65535),
        once=env.get("ONCE", "") not in ("", "0"),
        redis_url=env.get("REDIS_URL") or None,
        model_repository=env.get("MODEL_REPOSITORY") or None,
        memory_bytes=env.get("WARMROUTE_MEMORY_BYTES") or str(WORKER_MEMORY_BYTES),
    )


def _number(env: Mapping[str, str], name: str, default: int, *, low: int, high: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal() or not low <= int(text) <= high:
        raise BadSetting(f"{name}={text}: want a whole number from {low} to {high}")
    return int(text)
