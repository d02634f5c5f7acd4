from __future__ import annotations

from itertools import pairwise

import pytest

from shared.repository import UrlSource
from worker.weight_cache.ranged import LARGE_PART, SMALL_PART, Pinned, plan_parts

MIB = 1 << 20


@pytest.mark.parametrize("size", [1, SMALL_PART, SMALL_PART + 1, 91 * MIB, 999_999_999, 5 << 30])
def test_parts_cover_the_blob_without_gap_or_overlap(size: int) -> None:
    """In order, none empty, none larger than the largest part."""
    parts = plan_parts(size)
    assert parts[0][0] == 0
    assert parts[-1][1] == size
    assert all(before[1] == after[0] for before, after in pairwise(parts))
    assert all(0 < end - start <= LARGE_PART for start, end in parts)


def test_an_empty_blob_is_one_empty_part() -> None:
    """Its existence is still asked for."""
    assert plan_parts(0) == [(0, 0)]


def test_the_whole_object_is_not_asked_for_as_a_range() -> None:
    """An empty object has no range, and a small one needs none."""
    pinned = Pinned("file", UrlSource("http://x"), 10)
    assert "Range" not in pinned.headers(0, 10)
    assert pinned.headers(4, 10)["Range"] == "bytes=4-9"
    pinned.etag = '"abc"'
    assert pinned.headers(0, 10)["If-Match"] == '"abc"'
