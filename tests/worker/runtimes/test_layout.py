"""Weights keep the memory order they were exported with."""

from __future__ import annotations

import pytest
import torch

from worker.runtimes.canonical import from_stored, memory_order, to_stored

WEIGHTS = {
    "row-major": torch.randn(4, 3, 2, 5),
    "channels last": torch.randn(4, 3, 2, 5).to(memory_format=torch.channels_last),
    "transposed": torch.randn(6, 4).t(),
    "square, transposed": torch.randn(4, 4).t(),
    "scalar": torch.tensor(1.0),
    "with sizes of one": torch.randn(1, 3, 1).permute(2, 1, 0),
    "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
    "empty": torch.randn(0, 3),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_stored_weight_is_row_major_and_comes_back_as_it_was(name):
    """Values, shape and memory order survive, and attaching copies nothing."""
    weight = WEIGHTS[name]
    stored = to_stored(weight, weight.stride())
    assert stored.is_contiguous()
    again = from_stored(stored, weight.shape, weight.stride())
    assert again is not None
    assert torch.equal(again, weight)
    assert again.data_ptr() == stored.data_ptr()
    for size, got, want in zip(weight.shape, again.stride(), weight.stride(), strict=True):
        assert size <= 1 or got == want or weight.numel() == 0


def test_a_weight_that_is_not_dense_is_stored_row_by_row():
    """Expanded or cut out tensors have no memory order to keep."""
    weight = torch.randn(3, 1).expand(3, 4)
    assert memory_order(weight.shape, weight.stride()) == [0, 1]
    stored = to_stored(weight, weight.stride())
    assert torch.equal(stored, weight)
    again = from_stored(stored, weight.shape, weight.stride())
    assert again is not None
    assert torch.equal(again, weight)


def test_another_shape_is_no_match():
    """A weight of another shape is told, not reshaped."""
    assert from_stored(torch.zeros(3, 4), (4, 3), (3, 1)) is None
