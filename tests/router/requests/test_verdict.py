"""What `place` answers, as what a caller is told."""

from __future__ import annotations

import pytest

from router.requests.verdict import raise_unless_accepted
from shared import errors
from shared.scripts import Placed


def placed(status: str, where: str = "", retry_ms: int = 0) -> Placed:
    return Placed(status, where, "", 0, retry_ms)


@pytest.mark.parametrize("status", ["placed", "parked", "joined"])
def test_what_was_accepted_is_no_error(status: str) -> None:
    """Nothing is raised."""
    raise_unless_accepted(placed(status, "x"))


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (placed("full", "every holder"), errors.Overloaded, "every holder"),
        (placed("memory"), errors.Unavailable, "memory is nearly full"),
        (placed("unloadable", "corrupt its hash"), errors.Corrupt, "its hash"),
        (placed("quarantined", "quarantined it crashed"), errors.Quarantined, "it crashed"),
        (placed("mismatch"), errors.KeyReused, "key"),
        (placed("gone", "f" * 32), errors.Gone, "f" * 32),
        (placed("late"), errors.Expired, "deadline"),
        (placed("duplicate"), errors.InvalidInput, "taken already"),
        (placed("unheard of"), errors.WarmrouteError, "unheard of"),
    ],
    ids=lambda value: value.status if isinstance(value, Placed) else "",
)
def test_each_refusal_has_its_error(
    answer: Placed, kind: type[errors.WarmrouteError], text: str
) -> None:
    """With what is full, or why."""
    with pytest.raises(errors.WarmrouteError, match=text) as caught:
        raise_unless_accepted(answer)
    assert type(caught.value) is kind


@pytest.mark.parametrize("status", ["full", "memory", "unloadable", "quarantined"])
def test_when_to_come_back_is_what_the_script_computed(status: str) -> None:
    """In seconds; None where it does not know."""
    for retry_ms, seconds in ((2500, 2.5), (0, None)):
        with pytest.raises(errors.WarmrouteError) as caught:
            raise_unless_accepted(placed(status, "store_unavailable x", retry_ms))
        assert caught.value.retry_after_s == seconds
