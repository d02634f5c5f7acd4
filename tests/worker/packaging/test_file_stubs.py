"""Files that are not what their name says are named as what they are, whatever opens them."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save as safetensors_bytes
from torch import nn

from tests.helpers.onnx_models import identity
from worker.packaging.file_stubs import explain, stub_of

SUFFIXES = (".pt2", ".pt", ".onnx", ".safetensors", ".npz")


def saved(what: object, **options: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(what, buffer, **options)
    return buffer.getvalue()


def script() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def exported() -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(2, 2),)), buffer)
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.onnx"))
    return buffer.getvalue()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.ones(2))
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ones(2))
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("README", "")
    return buffer.getvalue()


STATE = nn.Linear(2, 2).state_dict()
GOOD = {
    ".pt2": exported(), ".pt": script(), ".onnx": identity(["n"]).SerializeToString(),
    ".safetensors": safetensors_bytes(STATE), ".npz": npz(),
}  # fmt: skip
STUBS = {
    "empty": (b"", "empty"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "git lfs"),
    "page": (b"<!DOCTYPE html><html><body>404", "a web page"),
    "page with a mark": (b"\xef\xbb\xbf\n <HTML lang=en>", "a web page"),
    "xml": (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "an XML text"),
    "json": (b'{"error": "Repository Not Found"}', "a JSON text"),
    "gzip": (gzip.compress(b"model"), "a gzip archive"),
    "tar": (tar(), "a tar archive"),
    "zip": (zipped(), "a zip archive, but"),
    "pickle": (pickle.dumps({"a": 1}), "a pickle, which is never loaded"),
    "state dict": (saved(STATE), "a torch.save file"),
    "module": (saved(nn.Linear(2, 2)), "a torch.save file"),
    "old state dict": (saved(STATE, _use_new_zipfile_serialization=False), "a pickle"),
    "array": (npy(), "a single numpy array"),
    "text onnx": (b'<ir_version: 7, opset_import: ["" : 10]> g (float x) => (float y) {}', "text"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "gguf": (b"GGUF" + bytes(100), "GGUF"),
}


def write(folder: Path, suffix: str, raw: bytes) -> Path:
    path = folder / f"m{suffix}"
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_real_thing_has_nothing_to_be_explained(suffix: str, tmp_path: Path) -> None:
    """Every format, as its own library writes it."""
    assert explain(write(tmp_path, suffix, GOOD[suffix]), suffix) == ""


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", STUBS)
def test_a_stub_is_named_under_every_suffix(kind: str, suffix: str, tmp_path: Path) -> None:
    """By one table, so that no format has words of its own for it."""
    raw, told = STUBS[kind]
    assert told in explain(write(tmp_path, suffix, raw), suffix)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", SUFFIXES)
def test_another_format_than_the_suffix_says_is_named(
    suffix: str, content: str, tmp_path: Path
) -> None:
    """With the name that it should have, or the option that takes it."""
    if suffix == content:
        return
    told = explain(write(tmp_path, suffix, GOOD[content]), suffix)
    assert ("--weights" if content == ".safetensors" else f"m{content}") in told


@pytest.mark.parametrize("suffix", [".pt2", ".pt", ".npz", ".safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_an_archive_that_is_cut_off_is_told_to_be(
    suffix: str, share: float, tmp_path: Path
) -> None:
    """Its table of contents comes last, or says where the last tensor ends."""
    raw = GOOD[suffix]
    assert "cut off" in explain(write(tmp_path, suffix, raw[: int(len(raw) * share)]), suffix)


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    """A folder, a link to nothing, nothing, a pipe."""
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "link.onnx").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe.onnx")
    for name, told in {
        "folder.onnx": "a folder", "link.onnx": "a link to nothing", "no.onnx": "no such file",
        "pipe.onnx": "not a regular file", "zero\0.onnx": "no such file",
        "x" * 300: "not readable",
    }.items():  # fmt: skip
        assert told in explain(tmp_path / name, ".onnx")


def test_raw_weights_may_begin_with_anything_but_a_stub(tmp_path: Path) -> None:
    """External data has no form of its own: a number may look like an archive."""
    for kind, (raw, _) in STUBS.items():
        stub = kind in ("empty", "pointer", "page", "page with a mark", "xml")
        assert bool(stub_of(write(tmp_path, ".data", raw))) is stub, kind
