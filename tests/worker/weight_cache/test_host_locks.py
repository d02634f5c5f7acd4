from __future__ import annotations

from pathlib import Path

import pytest

from worker.weight_cache.pins import HostLocks

A, B = "a" * 64, "b" * 64


@pytest.fixture
def two(tmp_path: Path) -> tuple[HostLocks, HostLocks]:
    """Two holders on one file, as two processes would be."""
    return HostLocks(tmp_path / "locks"), HostLocks(tmp_path / "locks")


def test_users_share_a_blob_and_keep_it_from_eviction(two: tuple[HostLocks, HostLocks]) -> None:
    """Until the last of them ends its use."""
    mine, other = two
    mine.use(A)
    other.use(A)
    mine.end_use(A)
    assert not mine.try_evict(A)
    other.end_use(A)
    assert mine.try_evict(A)


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "deleted"])
def test_what_is_held_is_held_in_the_file_that_others_find(tmp_path: Path, replaced: bool) -> None:
    """Once it has been renewed; what was given back by then is not."""
    path = tmp_path / "locks"
    mine = HostLocks(path)
    mine.use(A)
    mine.use(B)
    assert mine.try_fetch(B)
    path.unlink()
    if replaced:
        HostLocks(path).close()
    mine.end_use(B)
    mine.renew()
    later = HostLocks(path)
    assert not later.try_evict(A) and not later.try_fetch(B)
    assert later.try_evict(B)
    mine.end_use(A)
    assert later.try_evict(A)
    mine.renew()
    assert not later.try_fetch(B)


def test_blobs_are_apart(two: tuple[HostLocks, HostLocks]) -> None:
    """One blob's lock is nothing to another, nor fetching to using."""
    mine, other = two
    mine.use(A)
    assert other.try_evict(B)
    assert other.try_fetch(A)


def test_one_fetches_at_a_time(two: tuple[HostLocks, HostLocks]) -> None:
    """The other may once the first has ended."""
    mine, other = two
    assert mine.try_fetch(A)
    assert not other.try_fetch(A)
    mine.end_fetch(A)
    assert other.try_fetch(A)


def test_closing_drops_all_and_only_ones_own(
    two: tuple[HostLocks, HostLocks], tmp_path: Path
) -> None:
    """Locks that belong to the process would all go when any of its files is closed."""
    mine, other = two
    third = HostLocks(tmp_path / "locks")
    mine.use(A)
    assert mine.try_fetch(B)
    other.close()
    assert not third.try_evict(A)
    mine.close()
    assert third.try_evict(A)
    assert third.try_fetch(B)
    third.close()
