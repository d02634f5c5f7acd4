"""The tests of the scripts run on the versions of Redis that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import redis_versions
from tests.helpers.cell import Cell


async def test_a_cell_is_on_the_version_that_was_chosen(
    cell: Cell, request: pytest.FixtureRequest
) -> None:
    """The server says so itself."""
    if not redis_versions.chosen_versions():
        return
    version = request.node.callspec.params["redis_binary"]
    info = await cell.client.info("server")
    if version == redis_versions.VALKEY:
        assert info["server_name"] == "valkey"
    else:
        assert "/" in version or str(info["redis_version"]).startswith(version + ".")


def test_one_server_is_the_usual_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting asks for every version, for one of them, or for a binary of one's own."""
    monkeypatch.setenv(redis_versions.SETTING, "")
    assert redis_versions.chosen_versions() == []
    monkeypatch.setenv(redis_versions.SETTING, "all")
    assert redis_versions.chosen_versions() == ["6.2", "7.0", "8.2", "valkey"]
    monkeypatch.setenv(redis_versions.SETTING, "7.0")
    assert redis_versions.chosen_versions() == ["7.0"]
    monkeypatch.setenv(redis_versions.SETTING, "/opt/redis-server")
    assert str(redis_versions.binary_of("/opt/redis-server")) == "/opt/redis-server"


def test_a_valkey_on_path_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where no package brings one."""
    server = tmp_path / "valkey-server"
    server.write_text("#!/bin/sh\necho Valkey server v=9.1.2\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_versions.binaries.__wrapped__()["valkey"] == server


@pytest.mark.parametrize(
    ("setting", "ends_with"), [("found", pytest.skip.Exception), ("all", pytest.fail.Exception)]
)
def test_a_version_that_is_not_here(
    monkeypatch: pytest.MonkeyPatch, setting: str, ends_with: type[BaseException]
) -> None:
    """It is skipped with the reason; where all are asked for, that is a failure."""
    monkeypatch.setenv(redis_versions.SETTING, setting)
    monkeypatch.setattr(redis_versions, "binaries", dict)
    with pytest.raises(ends_with, match=r"no Redis 7\.0 here: run \.ci/fetch-redis-7\.0"):
        redis_versions.binary_of("7.0")
