"""Weights into a module: nothing is left out or too much in silence, ties are honoured."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from shared.errors import InvalidInput
from worker.runtimes.state_dict import load_state

SIZE = (5, 3)
KEPT = ["embed.weight", "head.weight"]


class Tied(nn.Module):
    def __init__(self, tie: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(*SIZE)
        self.head = nn.Linear(SIZE[1], SIZE[0], bias=False)
        if tie:
            self.head.weight = self.embed.weight


def value(seed: float) -> Tensor:
    return torch.full(SIZE, seed)


@pytest.mark.parametrize(
    "kept", [["embed.weight"], ["head.weight"], ["embed.weight", "head.weight"]]
)
def test_a_weight_that_the_module_ties_may_be_left_out(kept):
    """Whichever name the file kept, both are the tensor."""
    module = Tied()
    load_state(module, {name: value(7) for name in kept})
    assert torch.equal(module.head.weight, value(7)) and torch.equal(module.embed.weight, value(7))


def test_a_weight_that_the_module_does_not_tie_must_be_there():
    """Left out, it would be what the module was made with."""
    with pytest.raises(InvalidInput, match=r"Missing 'head\.weight'"):
        load_state(Tied(tie=False), {"embed.weight": value(1)})


def test_tied_names_with_two_values_are_refused():
    """One of them would win in silence."""
    with pytest.raises(InvalidInput, match="which differ in the file"):
        load_state(Tied(), {"embed.weight": value(1), "head.weight": value(2)})


def test_strangers_and_wrong_shapes_are_named():
    """All in one sentence."""
    state = {"embed.weight": torch.ones(2, 3), "extra": value(1)}
    with pytest.raises(InvalidInput, match=r"Unexpected 'extra'; size mismatch: .*\[2, 3\]"):
        load_state(Tied(), state)


def test_a_long_list_is_told_in_part_and_never_cut_within_a_word():
    """With how many more there are."""
    module = nn.Sequential(*(nn.Linear(1, 1) for _ in range(40)))
    with pytest.raises(InvalidInput, match=r"'13\.weight' and 68 more"):
        load_state(module, {})
