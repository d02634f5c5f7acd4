"""A clock that stands still until a test moves it."""

from __future__ import annotations

import pytest

from shared import clock


class Clock:
    """Seconds since the beginning of the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(clock, "monotonic", lambda: made.now)
    return made
