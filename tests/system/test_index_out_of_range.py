"""A value that is no index of the model's table, sent to a real cell."""

from __future__ import annotations

import json

import pytest
import torch

from shared.manifest import Manifest
from shared.repository import publish
from tests.helpers.stack import Stack
from tests.system.setup import Refused, post
from worker.packaging.module import pack_module


class _Lookup(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(10, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table(ids)


@pytest.fixture(scope="module")
def lookup(system: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A pushed embedding of ten rows."""
    folder = tmp_path_factory.mktemp("lookup")
    packed = pack_module(
        _Lookup(), None, (torch.zeros(1, 3, dtype=torch.int64),), None, None, None, folder
    )
    made = Manifest(
        name="lookup", version=1, platform=packed.platform, inputs=packed.inputs,
        outputs=packed.outputs, files=[], parameters=packed.parameters,
    )  # fmt: skip
    publish(system.repository, made, packed.files)
    return "/v2/models/lookup/infer"


@pytest.mark.parametrize("wrong", [10, -1, 99_999_999, 2**63 - 1])
def test_an_index_out_of_range_is_refused_with_its_limit(
    refused: Refused, lookup: str, wrong: int
) -> None:
    """On a GPU it would end the device process: it is the caller's fault, and none of the
    model's."""
    ids = {"name": "ids", "datatype": "INT64", "shape": [1, 3], "data": [0, 9, wrong]}
    status, error = refused(post(lookup, json.dumps({"inputs": [ids]}).encode()))
    assert status == 400
    assert error == f"inputs['ids'].data: element 2 is {wrong}, the model takes 0 to 9"
