from __future__ import annotations

import pytest

from worker.weight_cache.files import CachedFile
from worker.weight_cache.pins import choose_victims

OLD, MIDDLE, NEW = (CachedFile(age, name, 100) for age, name in ((1, "o"), (2, "m"), (3, "n")))


@pytest.mark.parametrize(
    ("excess", "pinned", "chosen"),
    [
        (0, "", ""),
        (1, "", "o"),
        (100, "", "o"),
        (101, "", "om"),
        (300, "", "omn"),
        (1, "o", "m"),
        (150, "m", "on"),
        (1000, "", "omn"),
        (1, "omn", ""),
    ],
)
def test_the_oldest_that_may_go_are_chosen_and_no_more(
    excess: int, pinned: str, chosen: str
) -> None:
    """Until the excess is covered or nothing is left."""
    victims = choose_victims([OLD, MIDDLE, NEW], excess, lambda name: name not in pinned)
    assert "".join(victim.name for victim in victims) == chosen


def test_only_what_is_needed_is_asked_about() -> None:
    """A yes may have taken a lock."""
    asked: list[str] = []

    def may_go(name: str) -> bool:
        asked.append(name)
        return True

    choose_victims([OLD, MIDDLE, NEW], 150, may_go)
    assert asked == ["o", "m"]
