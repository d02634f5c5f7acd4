"""What of a device's memory is whose: arithmetic that must never be negative."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.device.budget import left_for_models, others_of, overhead_of

BYTES = st.integers(0, 1 << 40)


@pytest.mark.parametrize(
    ("total", "share", "others", "overhead", "left"),
    [
        (100, 0.8, 0, 0, 80),
        (100, 0.8, 40, 10, 40),  # a share of what is left, so that there is room to run
        (100, 1.0, 0, 0, 100),
        (100, 0.5, 90, 20, 0),  # others have more than there is beside us
    ],
)
def test_models_get_a_share_of_what_others_leave(total, share, others, overhead, left):
    """Other processes and this one's own overhead come first."""
    assert left_for_models(total, share, others, overhead) == left


@given(BYTES, st.floats(0, 1), BYTES, BYTES)
def test_a_budget_lies_between_nothing_and_what_is_there(total, share, others, overhead):
    """Whatever was measured."""
    assert 0 <= left_for_models(total, share, others, overhead) <= total


def test_overhead_is_what_the_driver_says_of_this_process():
    """Without what its allocator holds, which models are charged with."""
    assert overhead_of(500, before=100, after=9000, reserved=20) == 480


def test_without_the_drivers_word_overhead_is_what_grew():
    """In a container the driver knows processes by other numbers."""
    assert overhead_of(None, before=100, after=600, reserved=20) == 480
    assert overhead_of(None, before=600, after=100, reserved=0) == 0  # somebody else ended


def test_others_have_what_is_not_ours():
    """By the driver's word if it gives one; else all that this process does not know of."""
    assert others_of(1000, 300, reserved=1, overhead=1) == 700
    assert others_of(1000, None, reserved=200, overhead=50) == 750
    assert others_of(1000, None, reserved=900, overhead=200) == 0
