"""What `make up` can be told, read from the environment once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from shared.command_line import told_default
from shared.setting import MIB

# Two workers of this size hold less than half of the 30 sample models (990 MB), so that
# evictions are seen.
WORKER_MEMORY_BYTES = 200 * MIB


class BadSetting(Exception):
    """A variable that cannot be used; the message names it."""


def _told(default: Any, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, kw_only=True)
class UpSettings:
    """Each is read from the variable of its name in capitals."""

    workers: int = _told(2, "How many workers.")
    web: int = _told(1, "How many gateways.")
    port: int | None = _told(None, "Of the first gateway; empty takes 8000, or a free one.")
    once: bool = _told(False, "1 ends after the table of answers.")
    redis_url: str | None = _told(None, "A Redis to use in place of an embedded one.")
    model_repository: str | None = _told(None, "In place of an embedded S3 server.")
    memory_bytes: str = _told(
        str(WORKER_MEMORY_BYTES), "The budget of a worker for models in memory."
    )


def told() -> list[tuple[str, str, str]]:
    """Variable, default and meaning of each, for `--help`."""
    rows = []
    for one in fields(UpSettings):
        name = "WARMROUTE_MEMORY_BYTES" if one.name == "memory_bytes" else one.name.upper()
        default = "" if one.default in (None, False) else str(one.default)
        unit = "bytes" if name.endswith("_BYTES") else ""
        rows.append((name, told_default(default, unit), one.metadata["doc"]))
    return [*rows, ("WARMROUTE_...", "each", "Settings of gateways and workers, which get them.")]


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
