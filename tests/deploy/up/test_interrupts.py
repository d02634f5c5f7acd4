"""Ctrl-C while the stack is being built, with real signals."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from deploy.up.interrupts import STOP_SIGNALS, interruptible


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
    with interruptible() as check:
        check()
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()


def test_after_the_block_nothing_interrupts_the_stopping() -> None:
    """A second Ctrl-C does not leave servers behind."""
    with interruptible():
        pass
    os.kill(os.getpid(), signal.SIGINT)
