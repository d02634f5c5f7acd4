"""Weights that the host tier keeps are attached from there: their files may be gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from shared.errors import BlobMissing, Corrupt
from shared.footprint import WEIGHTS
from tests.worker.runtimes.formats import FORMATS, Local, Publish
from worker.device.cpu import CpuDevice
from worker.runtimes.base import Trust, load
from worker.runtimes.weights import map_file, parse

TRUSTED = Trust(code=True)


def host(local: Local, device: CpuDevice) -> None:
    """Keep all weights, and take their files away."""
    for entry in local.manifest.files:
        if entry.name.startswith(WEIGHTS):
            device.hosted.keep(entry.sha256, local.files[entry.name])
            local.files.pop(entry.name).unlink()


@pytest.mark.parametrize("platform", ["pytorch_program", "pytorch_architecture"])
def test_a_model_comes_back_without_its_weights_files(
    platform: str, publish: Publish, device: CpuDevice, tmp_path: Path
):
    """With the answers it gave before."""
    kind = FORMATS[platform]
    local, inputs = publish(kind.pack(tmp_path / "packed", 0)), kind.inputs(2)
    model = load(local.manifest, local.files, device, TRUSTED)
    want = model.run(inputs)
    model.unload()
    host(local, device)
    again = load(local.manifest, local.files, device, TRUSTED)
    for name, got in again.run(inputs).items():
        np.testing.assert_array_equal(got, want[name])
    assert again.shared == model.shared
    assert again.bytes_resident == model.bytes_resident


def test_a_loaded_model_outlives_what_the_host_tier_drops(program: Local, device: CpuDevice):
    """It holds what it was attached to."""
    host(program, device)
    model = load(program.manifest, program.files, device, TRUSTED)
    inputs = FORMATS["pytorch_program"].inputs(2)
    want = model.run(inputs)["y"]
    for entry in program.manifest.files:
        device.hosted.drop(entry.sha256)
    np.testing.assert_array_equal(model.run(inputs)["y"], want)


def test_weights_that_are_nowhere_are_named(program: Local, device: CpuDevice):
    """The loader fetches them then."""
    host(program, device)
    (entry, *_) = [e for e in program.manifest.files if e.name.startswith(WEIGHTS)]
    device.hosted.drop(entry.sha256)
    with pytest.raises(BlobMissing, match=entry.name):
        load(program.manifest, program.files, device, TRUSTED)


def test_a_file_in_memory_is_read_as_the_file_is(tmp_path: Path):
    """The same tensors, as views: nothing is copied once more."""
    path = tmp_path / "a"
    save_file({"w": torch.arange(6.0).view(2, 3), "n": torch.arange(3)}, path)
    content = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    found, mapped = parse(content), map_file(path)
    assert found.bytes == mapped.bytes == content.numel()
    assert found.tensors.keys() == mapped.tensors.keys()
    for name, tensor in found.tensors.items():
        assert torch.equal(tensor, mapped.tensors[name])
        assert tensor.untyped_storage().data_ptr() == content.data_ptr()


@pytest.mark.parametrize("size", [0, 3, 8, 100])
def test_a_damaged_file_in_memory_is_refused(size: int):
    """Its header is checked like that of a file."""
    with pytest.raises(Corrupt, match="safetensors"):
        parse(torch.full((size,), 0x93, dtype=torch.uint8))
