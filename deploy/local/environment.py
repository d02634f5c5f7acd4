"""The Procfile and the environment of `make up`, and the file that other shells source."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.local.folders import RunFolder
from deploy.local.settings import UpSettings
from shared.errors import ConfigError

INSTALLED = {"web": "python -m router", "worker": "python -m worker"}  # a package has no Procfile
_LINE = re.compile(r"([A-Za-z0-9_-]+)\s*:\s*(.+)")
_KINDS = {"web": "router", "worker": "worker"}


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
