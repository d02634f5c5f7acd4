"""An archive is read as torch wrote it, and refused when it is not sound."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from shared.errors import Corrupt
from tests.worker.runtimes.formats import BATCH, WIDTH, Mlp
from worker.runtimes.pt2_archive import Pt2Archive


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "m.pt2"
    example = (torch.zeros(2, WIDTH),)
    torch.export.save(
        torch.export.export(Mlp().eval(), example, dynamic_shapes={"x": {0: BATCH}}), path
    )
    return path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as old:
        return {name: old.read(name) for name in old.namelist()}


def write(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as new:
        for name, raw in files.items():
            new.writestr(name, raw)
    return path


def test_tensors_are_those_of_the_module(archive):
    """All of them, by their names, with their values."""
    tensors = Pt2Archive(archive).tensors()
    state = Mlp().state_dict()
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[name], state[name]) for name in state)


def test_strides_ties_and_empty_tensors_come_back(tmp_path):
    """Memory order and shared memory are as they were before the export."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
            self.linear = nn.Linear(5, 5, bias=False)
            self.same = self.linear.weight
            self.register_buffer("none", torch.zeros(0, 3))
            self.register_buffer("short", torch.arange(3).to(torch.bfloat16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            total = self.none.sum() + self.short.sum() + self.same.sum() + self.linear.weight.sum()
            return self.conv(x) + total

    module = Odd().eval()
    path = tmp_path / "odd.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch, about weights that are not row-major
        torch.export.save(torch.export.export(module, (torch.ones(1, 3, 4, 4),)), path)
    tensors = Pt2Archive(path).tensors()
    assert tensors["conv.weight"].stride() == module.conv.weight.stride()
    assert torch.equal(tensors["conv.weight"], module.conv.weight)
    assert tensors["same"].data_ptr() == tensors["linear.weight"].data_ptr()
    assert tensors["none"].shape == (0, 3)
    assert torch.equal(tensors["short"], module.short)


def test_a_compressed_archive_is_refused(archive):
    """torch stores members as they are; a compressed one cannot be mapped, and may be a bomb."""
    write(archive, members(archive), zipfile.ZIP_DEFLATED)
    with pytest.raises(Corrupt, match="compressed"):
        Pt2Archive(archive)


def test_an_archive_with_compiled_code_is_refused(archive):
    """AOTInductor archives hold shared libraries."""
    files = members(archive)
    root = next(iter(files)).partition("/")[0]
    write(archive, {**files, f"{root}/data/aotinductor/model/x.so": b"\x7fELF"})
    with pytest.raises(Corrupt, match="compiled code"):
        Pt2Archive(archive)


def test_two_programs_in_one_archive_are_refused(archive):
    """Which of them to serve is not said."""
    files = members(archive)
    root = next(iter(files)).partition("/")[0]
    write(archive, {**files, f"{root}/models/other.json": b"{}"})
    with pytest.raises(Corrupt, match="2 exported programs"):
        Pt2Archive(archive)


def test_members_of_the_same_name_are_refused(archive):
    """Two readers could see two different models in one file."""
    files = members(archive)
    name = next(name for name in files if "weight_0" in name)
    write(archive, {**files, f"elsewhere/{name.partition('/')[2]}": b"other"})
    with pytest.raises(Corrupt, match="there twice"):
        Pt2Archive(archive)


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the table entry of `head.bias`."""
    files = members(path)
    name = next(name for name in files if name.endswith("weights_config.json"))
    table = json.loads(files[name])
    change(table["config"]["head.bias"])
    write(path, {**files, name: json.dumps(table).encode()})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda e: e["tensor_meta"].update(sizes=[{"as_int": 4}]), "beyond the bytes"),
        (lambda e: e["tensor_meta"].update(strides=[{"as_int": 2}]), "beyond the bytes"),
        (lambda e: e["tensor_meta"].update(storage_offset={"as_int": 1}), "beyond the bytes"),
        (lambda e: e["tensor_meta"].update(strides=[{"as_int": -1}]), "does not parse"),
        (lambda e: e["tensor_meta"].update(sizes=[{"as_expr": "s0"}]), "does not parse"),
        (lambda e: e["tensor_meta"].update(dtype=99), "unknown dtype"),
        (lambda e: e.update(path_name="../../../etc/passwd"), "is not in it"),
        (lambda e: e.update(path_name=3), "does not parse"),
    ],
)
def test_a_table_that_lies_is_refused(archive, change, reason):
    """Places and sizes are checked against the member's own bytes."""
    edit(archive, change)
    with pytest.raises(Corrupt, match=reason):
        Pt2Archive(archive).tensors()


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_archive_is_refused(archive, keep):
    """A file that ends early has no directory, or that of an archive inside it."""
    raw = archive.read_bytes()
    archive.write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(Corrupt, match=r"^\.pt2: "):
        Pt2Archive(archive)
