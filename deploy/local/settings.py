"""The settings of `make up`, read from the environment once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from shared.command_line import told_default
from shared.errors import InvalidInput
from shared.setting import MIB

# Two workers of this size hold less than half of the 30 sample models (990 MB), so that
# evictions are seen.
WORKER_MEMORY_BYTES = 200 * MIB


class BadSetting(InvalidInput):
    """A variable that cannot be used; the message names it."""


def _setting(default: Any, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, kw_only=True)
class UpSettings:
    """Each is read from the variable of its name in capitals."""

    workers: int = _setting(2, "Number of workers.")
    web: int = _setting(1, "Number of gateways.")
    port: int | None = _setting(
        None, "Port of the first gateway, the others get the next ones; empty takes 8000 or, if "
        "that is in use, any free port.",
    )  # fmt: skip
    once: bool = _setting(False, "1 ends after the table of answers.")
    redis_url: str | None = _setting(None, "A Redis to use in place of an embedded one.")
    model_repository: str | None = _setting(
        None, "A repository to use in place of an embedded S3 store."
    )
    memory_bytes: str = _setting(
        str(WORKER_MEMORY_BYTES), "The budget of a worker for models in memory."
    )


def described() -> list[tuple[str, str, str]]:
    """Variable, default and meaning of each, for `--help`."""
    rows = []
    for one in fields(UpSettings):
        name = "WARMROUTE_MEMORY_BYTES" if one.name == "memory_bytes" else one.name.upper()
        default = "" if one.default in (None, False) else str(one.default)
        unit = "bytes" if name.endswith("_BYTES") else ""
        rows.append((name, told_default(default, unit), one.metadata["doc"]))
    return [
        *rows,
        ("WARMROUTE_...", "each", "Settings of gateways and workers, passed on to them."),
    ]


def read_settings(env: Mapping[str, str]) -> UpSettings:
    """Settings from WORKERS, WEB, PORT, ONCE, REDIS_URL, MODEL_REPOSITORY and
    WARMROUTE_MEMORY_BYTES; an empty variable counts as absent. BadSetting names a wrong one."""
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
