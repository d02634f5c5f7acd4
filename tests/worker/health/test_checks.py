"""The tests of what loads need: disk, store, credentials, clock."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from shared.errors import DiskFull, Forbidden, RepositoryError, Unavailable
from tests.helpers.cell import Cell
from tests.helpers.repository import FakeRepository
from worker.health import checks
from worker.health.checks import CLOCK, CLOCK_OFF_S, STORE, LoadChecks, check_disk
from worker.health.health import DISK


def left(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def right_time() -> list[float]:
    return [time.time()]


async def run(
    folder: Path,
    repository: FakeRepository | None = None,
    clocks: checks.Clocks = right_time,
) -> dict[str, str]:
    return await LoadChecks(folder, repository or FakeRepository(), clocks).run()


async def test_where_all_is_well_nothing_fails_and_nothing_is_left(tmp_path: Path) -> None:
    """The store was asked for real."""
    repository = FakeRepository()
    assert await run(tmp_path, repository) == {DISK: "", STORE: "", CLOCK: ""}
    assert repository.calls["check"] == 1 and left(tmp_path) == []


async def test_a_store_that_refuses_is_named_with_its_answer(tmp_path: Path) -> None:
    """The others are tested all the same."""
    repository = FakeRepository()
    repository.error = Forbidden("the store refused the credentials (403 RequestTimeTooSkewed)")
    assert await run(tmp_path, repository) == {DISK: "", STORE: str(repository.error), CLOCK: ""}


async def test_a_clock_that_is_off_is_shown_by_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the second; a little is normal."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)

    async def theirs(off_s: float) -> list[float]:
        return [time.time() - off_s]

    found = await run(tmp_path, clocks=lambda: theirs(900))
    assert found[CLOCK] == "the clock of this host differs from Redis's by 900 s"
    assert (await run(tmp_path, clocks=lambda: theirs(CLOCK_OFF_S / 2)))[CLOCK] == ""


@pytest.mark.parametrize("leap_s", [600, -600])
@pytest.mark.parametrize("of", ["Redis's clock", "its correction"])
async def test_a_leap_of_rediss_clock_makes_no_worker_sick(
    cell: Cell, tmp_path: Path, leap_s: int, of: str
) -> None:
    """All of them would be. The cell's clock does not leap, so either it or Redis's is right; a
    host that agrees with neither is wrong all the same."""
    off_s = leap_s if of == "Redis's clock" else 0
    now_ms = time.time() * 1000
    # Of a leap that gateways have found: what the cell's clock shows, and how far Redis's is off.
    await cell.client.set(cell.keys.clock, f"{now_ms - leap_s * 1000:.0f} {leap_s * 1000}")
    redis_s, cell_s = await checks.read_clocks(cell.channel, cell.keys)
    assert redis_s - cell_s == pytest.approx(leap_s, abs=2)

    async def clocks() -> list[float]:
        return [at + off_s for at in await checks.read_clocks(cell.channel, cell.keys)]

    assert (await run(tmp_path, clocks=clocks))[CLOCK] == ""

    async def far() -> list[float]:
        return [at + off_s + 3600 for at in await checks.read_clocks(cell.channel, cell.keys)]

    assert (await run(tmp_path, clocks=far))[CLOCK]


async def test_without_redis_nothing_is_known_of_the_clock(tmp_path: Path) -> None:
    """That is not this host's fault."""

    async def away() -> list[float]:
        raise Unavailable("Redis does not answer")

    assert (await run(tmp_path, clocks=away))[CLOCK] == ""


async def test_a_folder_that_is_gone_is_made_anew(tmp_path: Path) -> None:
    """As a load does; it is a failure only where it cannot be made."""
    assert (await run(tmp_path / "gone"))[DISK] == "" and left(tmp_path / "gone") == []
    (tmp_path / "file").touch()
    assert (await run(tmp_path / "file" / "gone"))[DISK]


def test_a_full_disk_is_one_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found when the bytes are flushed, at the latest."""

    def full(file: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match="No space left"):
        check_disk(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_returns_other_bytes_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silently."""
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"other")
    with pytest.raises(RepositoryError, match="returns other bytes"):
        check_disk(tmp_path)


async def test_a_store_that_hangs_has_failed_and_is_not_asked_twice_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads must not pile up behind it."""
    monkeypatch.setattr(checks, "WITHIN_S", 0.05)
    repository = FakeRepository()
    repository.hold.clear()
    made = LoadChecks(tmp_path, repository, right_time)
    for _ in range(3):
        assert (await made.run())[STORE] == "store: no answer within 0.05 s"
    assert repository.calls["check"] == 1
    repository.hold.set()
    monkeypatch.setattr(checks, "WITHIN_S", 20)
    assert (await made.run())[STORE] == ""
