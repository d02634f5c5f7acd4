"""The byte ledger: shared blobs count once, and the budget is never passed."""

from __future__ import annotations

import pytest

from tests.helpers.factories import OTHER_REF, REF, file_entry, manifest
from worker.ledger import Footprint, Ledger, predict, union_bytes

A, B, C = ("a" * 64, 10), ("b" * 64, 20), ("c" * 64, 30)


def takes(*blobs: tuple[str, int], own: int = 0) -> Footprint:
    return Footprint(frozenset(blobs), own)


def test_a_copy_takes_its_blobs_and_its_own_bytes() -> None:
    """Both count."""
    assert takes(A, B, own=5).total == 35


def test_shared_blobs_count_once() -> None:
    """Twenty variants of one base take the base once."""
    assert union_bytes([takes(A, B), takes(A, C), takes(A, own=7)]) == 10 + 20 + 30 + 7
    assert union_bytes([]) == 0


def test_a_program_is_predicted_by_its_weights() -> None:
    """Each blob once, however many names it has; the graph itself is shared by all variants."""
    made = manifest(
        files=[
            file_entry("program.json", "p", 99), file_entry("weights/1.safetensors", "a", 10),
            file_entry("weights/2.safetensors", "a", 10),
            file_entry("weights/3.safetensors", "b", 20),
        ]
    )  # fmt: skip
    assert predict(made) == takes(A, B)


@pytest.mark.parametrize("platform", ["onnxruntime_onnx", "pytorch_torchscript", "pytorch_pt2"])
def test_a_whole_model_is_predicted_by_its_file(platform: str) -> None:
    """It shares nothing."""
    made = manifest(platform=platform, files=[file_entry("model", "a", 10)])
    assert predict(made) == takes(own=10)


def test_reserved_bytes_are_used_until_released() -> None:
    """A blob that another copy still has stays."""
    ledger = Ledger(100)
    ledger.reserve(REF, takes(A, B, own=1))
    ledger.reserve(OTHER_REF, takes(A, C, own=2))
    assert ledger.used == 63
    ledger.release(REF)
    assert ledger.used == 42
    ledger.release(REF)
    ledger.release(OTHER_REF)
    assert ledger.used == 0


def test_what_would_be_used_can_be_asked_first() -> None:
    """With a newcomer, and without some; nothing is changed by asking."""
    ledger = Ledger(100)
    ledger.reserve(REF, takes(A, B))
    assert ledger.used_with(takes(A, C)) == 60
    assert ledger.used_with(takes(A, C), [REF]) == 40
    assert ledger.used_with(takes(), [REF, "nobody"]) == 0
    assert ledger.used == 30


def test_the_budget_can_be_used_to_the_last_byte_and_not_beyond() -> None:
    """Whoever reserves has made room: anything else is a bug, and says so."""
    ledger = Ledger(30)
    ledger.reserve(REF, takes(A, B))
    with pytest.raises(AssertionError, match="bug"):
        ledger.reserve(OTHER_REF, takes(own=1))
    ledger.reserve(OTHER_REF, takes(A))
    assert ledger.used == 30


def test_what_was_measured_replaces_the_prediction() -> None:
    """More or less than predicted, as long as it fits."""
    ledger = Ledger(100)
    ledger.reserve(REF, takes(own=50))
    ledger.reserve(OTHER_REF, takes(own=40))
    assert ledger.correct(REF, takes(own=60))
    assert ledger.used == 100
    assert not ledger.correct(REF, takes(own=61))
    assert ledger.used == 100
    assert ledger.correct(REF, takes(A))
    assert ledger.used == 50
