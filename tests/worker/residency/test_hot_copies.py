"""The order in which a new process of a worker loads what the one before had."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from shared.footprint import Footprint
from shared.policy import Policy
from tests.helpers.factories import manifest
from worker.residency.copies import Copies, Copy


def copy(ref: str, used: float, **changes: Any) -> Copy:
    made = Copy(ref, manifest(), cast(Any, None), cast(Footprint, None), last_used=used)
    return replace(made, **changes)


def test_what_must_stay_comes_first_and_then_what_was_used_last() -> None:
    """Pinned by its policy, or needed by a session; what leaves does not come back."""
    copies = Copies()
    for one in (
        copy("old", 1.0), copy("hot", 9.0), copy("pinned", 2.0, policy=Policy(pin=True)),
        copy("session", 3.0, in_session=True), copy("leaving", 10.0, retiring=True),
    ):  # fmt: skip
        copies.add(one)
    assert copies.hot() == ["session", "pinned", "hot", "old"]
