"""Files to push, from sound to hopeless: what exporters write, damaged in the ways files are."""

from __future__ import annotations

import io
import pickle
import random
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save
from torch import Tensor, nn

SUFFIXES = (".pt", ".pt2", ".onnx", ".safetensors", ".npz", ".pth", ".torchscript", ".bin", "")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 1234\n" % (b"a" * 64)
STUBS = (
    b"", b"\0", POINTER, b"<!DOCTYPE html><html></html>", b'{"error": "gone"}', b"PK\x03\x04",
    b"\x80\x02}q\x00.", b"\x1f\x8b\x08\0\0", b"\x89HDF\r\n\x1a\n", b"not a model\n" * 9,
    b"\xff" * 4096, b"\x08\x07\x12\x03abc",
)  # fmt: skip


class Net(nn.Module):
    """FP32 `x` [n, 4] in, [n, 4] out."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.line(x))


def sound_files() -> Mapping[str, bytes]:
    """One small model in each format, by suffix, and things that are pushed in their place."""
    net, example = Net().eval(), (torch.zeros(2, 4),)
    script, archive, saved, arrays = (io.BytesIO() for _ in range(4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(net), script)
        sizes = ({0: torch.export.Dim.AUTO},)
        torch.export.save(torch.export.export(net, example, dynamic_shapes=sizes), archive)
    torch.save(net.state_dict(), saved)
    np.savez(arrays, x=np.ones((2, 4), np.float32))
    return {
        ".pt": script.getvalue(),
        ".pt2": archive.getvalue(),
        ".onnx": _onnx(),
        ".safetensors": save(net.state_dict()),
        ".npz": arrays.getvalue(),
        ".pth": saved.getvalue(),
        ".pickle": pickle.dumps({"a": 1}),
    }


def _onnx() -> bytes:
    weights = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])], [weights],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


class Pushes:
    """Makes arguments of `warmroute push NAME`, and the files that they name, in a folder."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._sound = sound_files()
        self._count = 0

    def next(self) -> list[str]:
        """The options after the name."""
        draw, self._count = self._random, self._count + 1
        options = [draw.choice(("--file",) * 15 + ("--weights",)), str(self._file())]
        if options[0] == "--weights":
            options += draw.choice((["--architecture", "mtcnn_onet"], ["--module", "nets:Net"], []))
        if draw.random() < 0.8:
            options += ["--input", draw.choice(("x:FP32:-1,4",) * 90 + WRONG)]
        if draw.random() < 0.8:
            options += ["--output", draw.choice(("y:FP32:-1,4",) * 90 + WRONG)]
        if draw.random() < 0.1:
            options += ["--example", str(self._file(".npz"))]
        for more in MORE:
            options += more if draw.random() < 0.02 else ()
        return options

    def _file(self, kind: str = "") -> Path:
        draw = self._random
        suffix = kind or draw.choice((*SUFFIXES, *(".pt", ".pt2", ".onnx") * 4))
        likely = suffix if suffix in self._sound and draw.random() < 0.8 else ""
        raw = self._sound[likely or draw.choice(list(self._sound))]
        path = self._folder / f"file-{self._count}{suffix}"
        path.write_bytes(self._damaged(raw))
        return path

    def _damaged(self, raw: bytes) -> bytes:
        draw = self._random
        damages: tuple[Callable[[], bytes], ...] = (
            lambda: raw[: draw.randrange(len(raw))],
            lambda: self._flipped(raw, draw.choice((1, 8, 200))),
            lambda: draw.choice(STUBS),
            lambda: draw.randbytes(draw.randrange(3000)),
            lambda: draw.choice(STUBS) + raw,
            lambda: self._other_members(raw),
        )
        return draw.choice(damages)() if draw.random() < 0.65 else raw

    def _flipped(self, raw: bytes, count: int) -> bytes:
        changed = bytearray(raw)
        for _ in range(count):
            changed[self._random.randrange(len(changed))] = self._random.randrange(256)
        return bytes(changed)

    def _other_members(self, raw: bytes) -> bytes:
        """An archive without, or with other, members."""
        if not zipfile.is_zipfile(io.BytesIO(raw)):
            return raw[::-1]
        written = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(written, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                chance = self._random.random()
                if chance < 0.1:
                    content = self._flipped(content, 3) if content else b"x"
                if chance < 0.9:
                    new.writestr(name, content)
        return written.getvalue()


WRONG = (
    "x", "x:FP32", "y:FP32:4", "x:FP64:-1,4", "x:INT64:-1", "nosuch:FP32:-1,4", "x:FP32:a,b", ":::",
    "x:FP32:-5", "a,b:FP32:-1,4", "x:FP99:-1,4", "", "x:FP32:-1,4,-1,-1", "x:FP32:0", "é😀:BOOL:1",
)  # fmt: skip
MORE = (
    ["--format", "whole"], ["--max-batch", "8"], ["--max-batch", "0"], ["--max-batch", "x"],
    ["--version", "2"], ["--version", "0"], ["--size", "a=1"], ["--size", "a"], ["--priority", "0"],
    ["--module", "nosuch:make"], ["--architecture", "nosuch"], ["--licence", "é" * 300],
)  # fmt: skip
