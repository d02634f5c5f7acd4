"""Weights from one safetensors file, from an index of several, or from their folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from shared.errors import Corrupt, InvalidInput
from worker.packaging.weight_files import read_weights


def index(folder: Path, weight_map: dict[str, str]) -> Path:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 8}, "weight_map": weight_map}))
    return path


def test_weights_are_read_from_safetensors_only(tmp_path: Path):
    """A pickle is no safetensors file, and a file that is not there is told by its name."""
    path = tmp_path / "w.safetensors"
    save_file({"w": torch.ones(2)}, path)
    assert torch.equal(read_weights(path)["w"], torch.ones(2))
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pt")
    with pytest.raises(Corrupt, match=r"w\.pt"):
        read_weights(tmp_path / "w.pt")
    with pytest.raises(InvalidInput, match=r"none\.pt"):
        read_weights(tmp_path / "none.pt")


def test_tied_tensors_that_the_metadata_names_are_filled_in(tmp_path: Path):
    """`save_model` keeps one name of a tied tensor, and the others in the metadata."""
    module = nn.ModuleDict({"embed": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
    module["head"].weight = module["embed"].weight
    save_model(module, str(tmp_path / "tied.safetensors"))
    tensors = read_weights(tmp_path / "tied.safetensors")
    assert tensors.keys() == {"embed.weight", "head.weight"}
    assert tensors["embed.weight"].data_ptr() == tensors["head.weight"].data_ptr()


def test_an_index_joins_its_files(tmp_path: Path):
    """By its own name, or by the folder that it lies in."""
    save_file({"a": torch.ones(2)}, tmp_path / "one.safetensors")
    save_file({"b": torch.zeros(3)}, tmp_path / "two.safetensors")
    path = index(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"})
    for given in (path, tmp_path):
        assert {name: len(t) for name, t in read_weights(given).items()} == {"a": 2, "b": 3}


@pytest.mark.parametrize(
    ("weight_map", "error", "told"),
    [
        ({"a": "gone.safetensors"}, InvalidInput, "gone.safetensors"),
        ({"a": "../one.safetensors"}, InvalidInput, "not the name of a file beside it"),
        ({"c": "one.safetensors"}, Corrupt, "none of its files contains 'c'"),
    ],
)
def test_an_index_that_is_not_so_is_refused_by_name(weight_map, error, told, tmp_path: Path):
    """A shard that is missing, elsewhere, or without what it should hold."""
    save_file({"a": torch.ones(2)}, tmp_path / "one.safetensors")
    with pytest.raises(error, match=told):
        read_weights(index(tmp_path, weight_map))


def test_a_folder_without_weights_says_what_was_looked_for(tmp_path: Path):
    """Such as one with a pickle only."""
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InvalidInput, match=r"model\.safetensors"):
        read_weights(tmp_path)
