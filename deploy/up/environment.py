"""The environment that every process of the stack gets, and the file that others can source."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.up.runfolder import RunFolder
from deploy.up.services import Services
from deploy.up.settings import UpSettings


def stack_environment(
    settings: UpSettings, folder: RunFolder, services: Services, given: Mapping[str, str]
) -> dict[str, str]:
    """What tells a process of ours which stack it belongs to. Settings that the user gave in the
    environment (`given`) are kept."""
    ours = {
        "WARMROUTE_CELL": "warmroute",
        "WARMROUTE_DISK_CACHE": str(folder.cache),
        "WARMROUTE_MEMORY_BYTES": settings.memory_bytes,
    }
    if services.trusted is not None:
        ours["WARMROUTE_TRUST_CODE"] = services.trusted
    kept = {n: v for n, v in given.items() if v and n.startswith(("WARMROUTE_", "S3_ENDPOINT_"))}
    return {**ours, **kept, **services.env}


def process_environment(stack: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """For the Procfile's commands: `python` is the one that runs this, whatever PATH says."""
    path = os.pathsep.join([str(Path(sys.executable).parent), given.get("PATH", os.defpath)])
    return {**stack, "PATH": path, "PYTHONUNBUFFERED": "1"}


def write_env_file(path: Path, env: Mapping[str, str]) -> None:
    """`NAME=value` lines for a shell to source. It holds passwords: only its owner may read it."""
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in sorted(env.items())]
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(lines)
    new.replace(path)
