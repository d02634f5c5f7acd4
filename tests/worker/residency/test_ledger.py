"""The byte ledger: shared blobs count once, and the budget is never passed."""

from __future__ import annotations

import pytest

from shared.footprint import Footprint, predict
from tests.helpers.factories import OTHER_REF, REF, file_entry, manifest
from worker.residency.ledger import Ledger, Tally

A, B, C = ("a" * 64, 10), ("b" * 64, 20), ("c" * 64, 30)


def takes(*blobs: tuple[str, int], own: int = 0) -> Footprint:
    return Footprint(frozenset(blobs), own)


def test_a_copy_takes_its_blobs_and_its_own_bytes() -> None:
    """Both count."""
    assert takes(A, B, own=5).total == 35


def test_shared_blobs_count_once() -> None:
    """Twenty variants of one base take the base once."""
    assert Tally([takes(A, B), takes(A, C), takes(A, own=7)]).bytes == 10 + 20 + 30 + 7
    assert Tally([]).bytes == 0


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


def test_what_was_learned_replaces_what_the_files_say() -> None:
    """Own bytes of a copy on a device of this class; blobs that can be shared are known anyway."""
    files = [file_entry("weights/1", "a", 10), file_entry("program.json", "p", 99)]
    assert predict(manifest(files=files), 7) == takes(A, own=7)
    whole = [file_entry("model", "a", 10)]
    assert predict(manifest(platform="onnxruntime_onnx", files=whole), 7) == takes(own=7)
    assert predict(manifest(platform="pytorch_pt2", files=whole), 7) == takes(A, own=7)


def test_a_copy_counts_as_at_least_what_it_was_promised() -> None:
    """Also beside others that share its blobs; one that takes more anyway goes on sharing."""
    assert takes(A, own=5).at_least(15) == takes(A, own=5)
    assert takes(A, own=5).at_least(16) == takes(own=16)
    assert Tally([takes(A).at_least(25), takes(A).at_least(25)]).bytes == 50
    assert takes(A).at_least(0) == takes(A)


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


def test_models_are_counted_reserved_ones_too() -> None:
    """By reference, and by group."""
    ledger = Ledger(100)
    ledger.reserve(REF, takes(own=1), "k")
    ledger.reserve(OTHER_REF, takes(own=1))
    assert (len(ledger), ledger.in_group("k"), set(ledger.entries)) == (2, {REF}, {REF, OTHER_REF})
    ledger.correct(REF, takes(own=2))
    assert ledger.in_group("k") == {REF}
    ledger.release(REF)
    assert (len(ledger), ledger.in_group("k")) == (1, set())


def test_shared_blobs_are_shared_out_among_their_holders() -> None:
    """What each copy takes, for a policy to weigh."""
    ledger = Ledger(100)
    ledger.reserve(REF, takes(A, B, own=1))
    ledger.reserve(OTHER_REF, takes(A, own=2))
    assert ledger.shares() == {REF: 5 + 20 + 1, OTHER_REF: 5 + 2}


def test_a_budget_may_shrink_below_what_is_used() -> None:
    """Nobody is thrown out by that: the ledger says by how much it is over, and gets no worse."""
    ledger = Ledger(100)
    ledger.reserve(REF, takes(A, own=30))
    ledger.reserve(OTHER_REF, takes(own=40))
    ledger.budget = 60
    assert (ledger.used, ledger.budget, ledger.whole) == (80, 60, 100)
    with pytest.raises(AssertionError, match="bug"):
        ledger.reserve("third", takes(own=1))
    ledger.reserve("third", takes(A))
    assert not ledger.correct(OTHER_REF, takes(own=41))
    assert ledger.correct(OTHER_REF, takes(own=35))
    assert ledger.used - ledger.budget == 15
    ledger.release(REF)
    assert ledger.used == 45 <= ledger.budget
    ledger.budget = 120
    assert ledger.used <= ledger.budget and ledger.whole == 120


def test_a_blob_of_two_sizes_counts_as_the_larger() -> None:
    """In a manifest it has the size of a file, in memory that of its tensors."""
    ledger = Ledger(100)
    ledger.reserve(REF, takes(("a" * 64, 12)))
    ledger.reserve(OTHER_REF, takes(A))
    assert (ledger.used, ledger.used_with(takes(("a" * 64, 15)))) == (12, 15)
    ledger.release(OTHER_REF)
    ledger.release(REF)
    assert ledger.used == 0
