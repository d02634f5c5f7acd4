"""What `place` answers, as what a caller is told."""

from __future__ import annotations

import pytest

from shared import errors
from shared.placed import Limits, Placed

LIMITS = Limits(11, 22, 33)


def placed(status: str, where: str = "", retry_ms: int = 0) -> Placed:
    return Placed(status, where, "", 0, retry_ms)


@pytest.mark.parametrize("status", ["placed", "parked", "joined"])
def test_what_was_accepted_is_no_error(status: str) -> None:
    """Nothing is raised."""
    placed(status, "x").raise_for_status(LIMITS)


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (placed("full", "work"), errors.Overloaded, "11 requests queued"),
        (placed("full", "parked"), errors.Overloaded, "22 requests wait for this model"),
        (placed("full", "pending"), errors.Overloaded, "33 requests of this cell"),
        (placed("memory"), errors.Unavailable, "memory is nearly full"),
        (placed("unloadable", "corrupt its hash"), errors.Corrupt, "its hash"),
        (placed("quarantined", "quarantined it crashed"), errors.Quarantined, "it crashed"),
        (placed("mismatch"), errors.KeyReused, "key"),
        (placed("gone", "f" * 32), errors.Gone, "f" * 32),
        (placed("late"), errors.Expired, "deadline"),
        (placed("duplicate"), errors.InvalidInput, "accepted before"),
        (placed("unheard of"), errors.WarmrouteError, "unheard of"),
    ],
    ids=lambda value: value.status if isinstance(value, Placed) else "",
)
def test_each_refusal_has_its_error(
    answer: Placed, kind: type[errors.WarmrouteError], text: str
) -> None:
    """With what is full, or why."""
    with pytest.raises(errors.WarmrouteError, match=text) as caught:
        answer.raise_for_status(LIMITS)
    assert type(caught.value) is kind


@pytest.mark.parametrize("status", ["full", "memory", "unloadable", "quarantined"])
def test_when_to_come_back_is_what_the_script_computed(status: str) -> None:
    """In seconds; None where it does not know."""
    for retry_ms, seconds in ((2500, 2.5), (0, None)):
        with pytest.raises(errors.WarmrouteError) as caught:
            placed(status, "store_unavailable x", retry_ms).raise_for_status(LIMITS)
        assert caught.value.retry_after_s == seconds
