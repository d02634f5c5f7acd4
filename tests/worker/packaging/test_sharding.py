"""Weights become files that variants share, with the same bytes whoever writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from shared.errors import InvalidInput
from shared.manifest import FILE_NAME
from worker.packaging.weight_files import file_name, split_weights, take_aliases

LARGE = torch.arange(1 << 18, dtype=torch.float32)  # exactly 1 MiB


def contents(files: dict[str, Path]) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in files.items()}


def test_large_tensors_get_a_file_each_and_small_ones_share_one(tmp_path):
    """From 1 MiB on a tensor is a file of its own; all names are valid in a manifest."""
    state = {"big": LARGE, "big.too": LARGE + 1, "a": torch.ones(3), "b": LARGE[1:]}
    files = split_weights(state, tmp_path)
    inside = {name: set(load_file(path)) for name, path in files.items()}
    assert sorted(inside.values(), key=sorted) == [{"a", "b"}, {"big"}, {"big.too"}]
    assert all(FILE_NAME.fullmatch(name) for name in files)


def test_everything_comes_back(tmp_path):
    """Names, types and values survive."""
    state = {
        "big": LARGE,
        "half": torch.ones(2, 2).half(),
        "none": torch.ones(0),
        "n": torch.tensor(3),
    }
    found = {}
    for path in split_weights(state, tmp_path).values():
        found |= load_file(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert all(found[name].dtype == state[name].dtype for name in state)


def test_the_same_tensor_under_two_models_is_the_same_file(tmp_path):
    """What two variants share has the same name and bytes; only what differs differs."""
    one = split_weights({"trunk": LARGE, "head": torch.ones(3)}, tmp_path / "one")
    two = split_weights({"head": torch.zeros(3), "trunk": LARGE.clone()}, tmp_path / "two")
    first, second = contents(one), contents(two)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == ["weights/small.safetensors"]


def test_the_order_of_a_state_dict_does_not_matter(tmp_path):
    """The same names and values in any order give the same bytes."""
    state = {"b": torch.ones(2), "a": torch.zeros(3), "c": torch.ones(1).double()}
    one = split_weights(state, tmp_path / "one")
    two = split_weights(dict(reversed(state.items())), tmp_path / "two")
    assert contents(one) == contents(two)


def test_views_of_one_storage_are_stored_apart(tmp_path):
    """Slices of a larger tensor are written with their own bytes only."""
    both = torch.arange(8.0)
    files = split_weights({"left": both[:4], "right": both[4:], "step": both[::2]}, tmp_path)
    (path,) = files.values()
    assert torch.equal(load_file(path)["right"], both[4:])
    assert torch.equal(load_file(path)["step"], both[::2])


def test_tied_weights_are_stored_once():
    """The same memory under two names is one tensor and an alias; equal values are not enough."""
    table = torch.ones(3, 4)
    state = {"lm_head": table, "embed": table, "copy": table.clone(), "t": table.t()}
    kept, aliases = take_aliases(state)
    assert set(kept) == {"embed", "copy", "t"}
    assert aliases == {"alias.lm_head": "embed"}


@pytest.mark.parametrize(
    "name",
    ["encoder.layer.0.weight", "_model.x", "a..b", "ü/ö", "../../etc", "x" * 500, "...", "a b"],
)
def test_any_tensor_name_gives_a_valid_file_name(name):
    """Names from a model never lead out of their folder."""
    assert FILE_NAME.fullmatch(file_name(name))
    assert ".." not in file_name(name)


def test_names_that_look_alike_have_different_files():
    """What is replaced in a name cannot make two tensors one file."""
    assert file_name("a b") != file_name("a-b")


def test_types_that_safetensors_lacks_are_refused(tmp_path):
    """A quantised or complex128 tensor is named, not half written."""
    with pytest.raises(InvalidInput, match="'z'"):
        split_weights({"z": torch.zeros(2, dtype=torch.complex128)}, tmp_path)
    assert not any(tmp_path.iterdir())
