"""A worker whose operator has not allowed code: it loads data, and refuses what could run code."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.manifest import Manifest, TensorSpec
from shared.platforms import PLATFORMS
from shared.repository import publish
from tests.helpers.models import publish_mlp
from tests.helpers.stack import Stack
from tests.system.setup import open_stack
from worker.packaging.architecture import pack_architecture
from worker.runtimes.architectures.bert_encoder import BertConfig, BertEncoder

TINY = {
    "vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 12,
}  # fmt: skip
FILES = {
    "pytorch_program": "program.json",
    "pytorch_torchscript": "model.pt",
    "pytorch_pt2": "model.pt2",
    "onnxruntime_onnx": "model.onnx",
}


@pytest.fixture(scope="module")
def wary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that trusts another folder than its repository, and one whose name begins alike."""
    folder = tmp_path_factory.mktemp("wary")
    repository = (folder / "repository").as_uri()
    trusted = f"{folder.as_uri()}/other, {repository[:-1]}, {repository}/deeper"
    with open_stack(folder, WARMROUTE_TRUST_CODE=trusted) as stack:
        stack.scale()
        yield stack


def test_every_format_that_can_run_code_is_listed_here() -> None:
    """A new one must be refused as well."""
    assert set(FILES) == {name for name, row in PLATFORMS.items() if row.trust == "code"}


@pytest.mark.parametrize("platform", FILES)
def test_a_format_that_can_run_code_is_refused(wary: Stack, tmp_path: Path, platform: str) -> None:
    """403 with the setting that would allow it; every request that waited is told."""
    name, file = f"of-{platform.replace('_', '-')}", tmp_path / "file"
    file.write_bytes(platform.encode())
    manifest = Manifest(
        name=name,
        version=1,
        platform=platform,
        inputs=[TensorSpec("x", "FP32", [-1])],
        outputs=[TensorSpec("y", "FP32", [-1])],
        files=[],
    )
    publish(wary.repository, manifest, {FILES[platform]: file})
    body = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}'

    with ThreadPoolExecutor(4) as callers:
        calls = [f"/v2/models/{name}/infer"] * 8
        answers = list(callers.map(lambda path: wary.http("POST", path, body), calls))

    assert {answer.status for answer in answers} == {403}
    error = answers[0].json()["error"]
    assert error.startswith(f"model {name} version 1: platform {platform} can run code")
    assert "WARMROUTE_TRUST_CODE" in error
    assert ("WARMROUTE_TRUSTED_PROGRAMS" in error) == (platform == "pytorch_program")
    assert wary.holders(name) == []


def test_a_code_format_that_is_sound_is_refused_just_the_same(wary: Stack) -> None:
    """It would load, if it were allowed to."""
    mlp = publish_mlp(wary.repository, wary.folder)
    body = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 16], "data": [%s]}]}'
    sent = body % b", ".join([b"1"] * 16)
    assert wary.http("POST", f"/v2/models/{mlp.name}/infer", sent).status == 403


def test_weights_of_a_known_architecture_are_data_and_are_served(
    wary: Stack, tmp_path: Path
) -> None:
    """Safetensors and numbers in a manifest cannot run anything."""
    encoder = BertEncoder(BertConfig(**TINY)).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.1)
    packed = pack_architecture("bert_encoder", TINY, encoder.state_dict(), tmp_path)
    manifest = Manifest(
        name="tiny-bert",
        version=1,
        platform=packed.platform,
        inputs=packed.inputs,
        outputs=packed.outputs,
        parameters=packed.parameters,
        files=[],
    )
    publish(wary.repository, manifest, packed.files)
    tokens = {
        "input_ids": np.array([[1, 2, 3, 4]], np.int64),
        "attention_mask": np.array([[1, 1, 1, 0]], np.int64),
    }

    answer = wary.client().infer("tiny-bert", tokens)

    with torch.inference_mode():
        expected = encoder(*(torch.from_numpy(tensor) for tensor in tokens.values()))
    assert np.allclose(answer["embedding"], expected.numpy(), rtol=1e-4, atol=1e-5)
