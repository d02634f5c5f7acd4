"""The tests of the scripts run on the versions of Redis that they name."""

from __future__ import annotations

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
    assert "/" in version or str(info["redis_version"]).startswith(version + ".")


def test_one_server_is_the_usual_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting asks for every version, for one of them, or for a binary of one's own."""
    monkeypatch.setenv(redis_versions.SETTING, "")
    assert redis_versions.chosen_versions() == []
    monkeypatch.setenv(redis_versions.SETTING, "all")
    assert redis_versions.chosen_versions() == ["6.2", "7.0", "8.2"]
    monkeypatch.setenv(redis_versions.SETTING, "7.0")
    assert redis_versions.chosen_versions() == ["7.0"]
    monkeypatch.setenv(redis_versions.SETTING, "/opt/redis-server")
    assert str(redis_versions.binary_of("/opt/redis-server")) == "/opt/redis-server"


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
