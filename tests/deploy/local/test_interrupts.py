"""Ctrl-C while the cluster is being started, with real signals."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from deploy.local.interrupts import STOP_SIGNALS, interruptible


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The test runner's own handlers are put back."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_interrupts_what_is_being_done(number: signal.Signals) -> None:
    """As Ctrl-C does in any Python program."""
    with pytest.raises(KeyboardInterrupt), interruptible():
        os.kill(os.getpid(), number)


def test_one_that_got_lost_is_raised_again_at_the_next_step() -> None:
    """Some library has swallowed it."""
    with interruptible() as interrupts:
        interrupts.check()
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()


def test_a_second_signal_hurries_what_stops_already() -> None:
    """It interrupts nothing: servers would be left behind."""
    with interruptible() as interrupts:
        interrupts.begin_to_stop()
        assert not interrupts.hurry.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        interrupts.check()
        assert interrupts.hurry.is_set()


def test_after_the_block_nothing_interrupts_the_stopping() -> None:
    """A second Ctrl-C does not leave servers behind."""
    with interruptible():
        pass
    os.kill(os.getpid(), signal.SIGINT)
