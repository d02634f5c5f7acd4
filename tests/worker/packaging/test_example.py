"""What an export is shown: examples of the right kind, and which sizes may vary."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shared.errors import InvalidInput, LoadFailed
from shared.manifest import TensorSpec
from tests.worker.runtimes.formats import Mlp
from worker.packaging.example import example_inputs, varying_sizes
from worker.packaging.module import pack_module

IDS = TensorSpec("ids", "INT64", [-1, -1])
IMAGE = TensorSpec("image", "FP32", [-1, 3, 8])


def test_examples_have_the_types_and_sizes_of_the_specs():
    """Sizes that vary are neither 0 nor 1, which an export would take for special cases."""
    ids, image = example_inputs([IDS, IMAGE])
    assert (ids.dtype, image.dtype) == (torch.int64, torch.float32)
    assert image.shape[1:] == (3, 8)
    assert min(*ids.shape, image.shape[0]) > 1


def test_given_examples_are_taken_by_name():
    """In the order of the specs, with their values."""
    given = {"image": np.ones((5, 3, 8), np.float32), "ids": np.full((5, 2), 7)}
    ids, image = example_inputs([IDS, IMAGE], given)
    assert ids.unique().tolist() == [7]
    assert image.shape == (5, 3, 8)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "no input 'ids'"),
        ({"ids": np.zeros((2, 2), np.int32)}, "is int32"),
        ({"ids": np.zeros(2, np.int64)}, r"\[2\], not INT64"),
    ],
)
def test_an_example_that_does_not_fit_is_refused(given, reason):
    """The input and what it should be are named."""
    with pytest.raises(InvalidInput, match=reason):
        example_inputs([IDS], given)


def test_a_type_that_torch_lacks_is_refused():
    """Text cannot be exported."""
    with pytest.raises(LoadFailed, match="BYTES"):
        example_inputs([TensorSpec("text", "BYTES", [-1])])


def test_sizes_that_vary_in_the_specs_vary_in_the_program(tmp_path):
    """The program takes other batches than the example's."""
    specs = [TensorSpec("x", "FP32", [-1, 520])]
    packed = pack_module(
        Mlp(), None, example_inputs(specs), varying_sizes(specs), None, None, tmp_path
    )
    assert list(packed.inputs[0].shape) == [-1, 520]
