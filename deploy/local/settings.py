"""What `make up` reads (its settings, the Procfile), and the environment that its processes get."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from deploy.local.folders import RunFolder
from shared.command_line import default_text
from shared.errors import ConfigError, InvalidInput
from shared.setting import MIB

# Two workers of this size hold less than half of the 30 sample models (990 MB), so that
# evictions are seen.
WORKER_MEMORY_BYTES = 200 * MIB
INSTALLED = {"web": "python -m router", "worker": "python -m worker"}  # a package has no Procfile
_LINE = re.compile(r"([A-Za-z0-9_-]+)\s*:\s*(.+)")
_KINDS = {"web": "router", "worker": "worker"}


class BadSetting(InvalidInput):
    """A variable that cannot be used; the message names it."""


def _setting(default: Any, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, kw_only=True)
class UpSettings:
    """Each is read from the variable of its name in capitals."""

    workers: int = _setting(2, "Number of workers.")
    cells: int = _setting(
        1, "Number of cells, each with a Redis of its own; workers take turns in them."
    )
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
        rows.append((name, default_text(default, unit), one.metadata["doc"]))
    return [
        *rows,
        ("WARMROUTE_...", "each", "Settings of gateways and workers, passed on to them."),
    ]


def read_settings(env: Mapping[str, str]) -> UpSettings:
    """Settings from WORKERS, CELLS, WEB, PORT, ONCE, REDIS_URL, MODEL_REPOSITORY and
    WARMROUTE_MEMORY_BYTES; an empty variable counts as absent. BadSetting names a wrong one."""
    port = env.get("PORT") or None
    cells = _number(env, "CELLS", 1, low=1, high=16)
    return UpSettings(
        workers=_number(env, "WORKERS", max(2, cells), low=cells, high=64),
        cells=cells,
        web=_number(env, "WEB", 1, low=1, high=64),
        port=None if port is None else _number(env, "PORT", 0, low=1, high=65535),
        once=env.get("ONCE", "") not in ("", "0"),
        redis_url=env.get("REDIS_URL") or None,
        model_repository=env.get("MODEL_REPOSITORY") or None,
        memory_bytes=env.get("WARMROUTE_MEMORY_BYTES") or str(WORKER_MEMORY_BYTES),
    )


def read_procfile(path: Path) -> dict[str, str]:
    """Commands by process kind, in the file's order; ConfigError names a line that cannot be read.
    Without a file, those of this package."""
    if not path.exists():
        return INSTALLED
    commands: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = _LINE.fullmatch(text)
        if found is None or found[1] in commands:
            raise ConfigError(f"{path.name} line {number}: want a new `name: command`")
        commands[found[1]] = found[2]
    return commands


def commands(procfile: Path) -> dict[str, list[str]]:
    """What starts a "router" and a "worker", as the Procfile says; ConfigError if it has none."""
    read = read_procfile(procfile)
    for kind in _KINDS:
        if kind not in read:
            raise ConfigError(f"{procfile.name} has no process {kind!r}: add a line `{kind}: ...`")
    return {module: ["sh", "-c", f"exec {read[kind]}"] for kind, module in _KINDS.items()}


def cluster_settings(
    settings: UpSettings, folder: RunFolder, given: Mapping[str, str]
) -> dict[str, str]:
    """What every process gets beside the addresses of the servers. Settings that the user gave in
    the environment (`given`) are kept, but for servers that are embedded ones instead."""
    ours = {
        "WARMROUTE_CELL": "warmroute",
        "WARMROUTE_DISK_CACHE": str(folder.cache),
        "WARMROUTE_MEMORY_BYTES": settings.memory_bytes,
    }
    prefixes = ["WARMROUTE_", *(["S3_ENDPOINT_"] if settings.model_repository else [])]
    kept = {
        name: value for name, value in given.items() if value and name.startswith(tuple(prefixes))
    }
    return {**ours, **kept}


def inherited(given: Mapping[str, str]) -> dict[str, str]:
    """The environment under those settings: `python` is the one that runs this, whatever PATH says,
    and output is written at once."""
    path = os.pathsep.join([str(Path(sys.executable).parent), given.get("PATH", os.defpath)])
    return {**given, "PATH": path, "PYTHONUNBUFFERED": "1"}


def write_env_file(path: Path, env: Mapping[str, str]) -> None:
    """`NAME=value` lines for a shell to source. It holds passwords: only its owner may read it."""
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in sorted(env.items())]
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(lines)
    new.replace(path)


def _number(env: Mapping[str, str], name: str, default: int, *, low: int, high: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal() or not low <= int(text) <= high:
        raise BadSetting(f"{name}={text}: want a whole number from {low} to {high}")
    return int(text)
