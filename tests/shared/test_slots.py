"""The slot of a key is the one that Redis Cluster computes, and a cell lives in one slot."""

from __future__ import annotations

import pytest

from shared.keys import Keys
from shared.slots import SLOTS, slot_of


@pytest.mark.parametrize(
    ("key", "slot"),
    [("123456789", 12739), ("foo", 12182), ("bar", 5061), ("", 0), ("a{foo}b{bar}", 12182)],
)
def test_slots_are_those_of_redis(key: str, slot: int) -> None:
    """Known values; a hash tag is hashed in place of its key."""
    assert slot_of(key) == slot


def test_what_is_no_hash_tag_is_hashed_whole() -> None:
    """An empty one, one that is not closed; and only the first one counts."""
    for key in ("foo{}{bar}", "foo{bar", "foo}bar{"):
        assert slot_of(key) != slot_of("bar")
    assert slot_of("foo{{bar}}zap") == slot_of("{{bar}x") != slot_of("bar")
    assert slot_of("{foo}{bar}") == slot_of("foo")


def test_the_names_of_cells_spread_over_all_slots() -> None:
    found = {slot_of(Keys(f"c{number}").prefix) for number in range(2000)}
    assert len(found) > 1800 and max(found) < SLOTS and max(found) - min(found) > SLOTS * 0.9
