"""Weights are mapped once, shared by all, and never written back."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from shared.errors import Corrupt
from shared.manifest import FileEntry, Manifest, TensorSpec
from worker.runtimes.weights import attach, map_file


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    path = tmp_path / "ab12"
    save_file({"w": torch.arange(6.0).view(2, 3), "n": torch.arange(3)}, path)
    return path


def manifest_of(files: dict[str, Path], **parameters: str) -> Manifest:
    tensor = [TensorSpec("x", "FP32", [1])]
    return Manifest(
        name="m",
        version=1,
        platform="pytorch_program",
        inputs=tensor,
        outputs=tensor,
        files=[FileEntry(name, path.name.ljust(64, "0"), 1) for name, path in files.items()],
        parameters=parameters,
    )


def test_values_come_out_as_they_went_in(blob):
    """Types, shapes and values of a mapped file are those that were saved."""
    tensors = map_file(blob).tensors
    assert torch.equal(tensors["w"], torch.arange(6.0).view(2, 3))
    assert torch.equal(tensors["n"], torch.arange(3))


def test_a_blob_is_mapped_once_for_all_models(blob, device):
    """Two models with the same blob see the same memory."""
    manifest = manifest_of({"weights/a": blob})
    first, second = (attach(manifest, {"weights/a": blob}, device) for _ in "ab")
    assert first.tensors["w"].data_ptr() == second.tensors["w"].data_ptr()
    assert first.shared == {manifest.files[0].sha256: blob.stat().st_size}


def test_a_blob_is_let_go_with_its_last_holder(blob, device):
    """The cache holds weakly: no model, no mapping."""
    attached = attach(manifest_of({"weights/a": blob}), {"weights/a": blob}, device)
    assert len(device.shared.alive()) == 1
    del attached
    gc.collect()
    assert device.shared.alive() == []
    assert str(blob) not in Path("/proc/self/maps").read_text()


def test_no_file_stays_open(blob, device):
    """Hundreds of blobs must not use up the limit of open files."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    attached = attach(manifest_of({"weights/a": blob}), {"weights/a": blob}, device)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert attached.tensors


def test_writing_to_a_weight_never_reaches_the_file(blob):
    """A mapping is private, so even a kernel that writes in place cannot change the blob."""
    raw = blob.read_bytes()
    map_file(blob).tensors["w"].add_(1)
    assert blob.read_bytes() == raw


def test_a_tensor_that_is_not_aligned_is_read_all_the_same(tmp_path):
    """The format does not demand alignment: an odd header gives a copied tensor, not a crash."""
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    header += b" " * (1 - len(header) % 2)
    path = tmp_path / "odd"
    path.write_bytes(len(header).to_bytes(8, "little") + header + torch.ones(2).numpy().tobytes())
    assert (8 + len(header)) % 4
    assert torch.equal(map_file(path).tensors["w"], torch.ones(2))


def test_an_alias_is_the_tensor_it_names(blob, device):
    """Tied weights are stored once, and are one tensor again when loaded."""
    manifest = manifest_of({"weights/a": blob}, **{"alias.tied": "w"})
    tensors = attach(manifest, {"weights/a": blob}, device).tensors
    assert tensors["tied"] is tensors["w"]


def test_an_alias_of_nothing_is_refused(blob, device):
    """An alias must name a tensor that is there."""
    manifest = manifest_of({"weights/a": blob}, **{"alias.tied": "ghost"})
    with pytest.raises(Corrupt, match="ghost"):
        attach(manifest, {"weights/a": blob}, device)


def test_a_tensor_in_two_files_is_refused(blob, device, tmp_path):
    """Which of the two would count is not for chance to decide."""
    other = tmp_path / "cd34"
    save_file({"w": torch.ones(1)}, other)
    files = {"weights/a": blob, "weights/b": other}
    with pytest.raises(Corrupt, match="two files"):
        attach(manifest_of(files), files, device)
