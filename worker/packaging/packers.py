"""What `warmroute push` packs models with, in one place."""

from __future__ import annotations

from worker.packaging.architecture import pack_architecture
from worker.packaging.example import arguments, example_inputs
from worker.packaging.module import pack_module
from worker.packaging.onnx import pack_onnx
from worker.packaging.program import pack_pt2
from worker.packaging.result import Packed
from worker.packaging.sharding import split_weights
from worker.packaging.weight_files import read_weights
from worker.packaging.whole_file import pack_torchscript, pack_whole_pt2

__all__ = [
    "Packed",
    "arguments",
    "example_inputs",
    "pack_architecture",
    "pack_module",
    "pack_onnx",
    "pack_pt2",
    "pack_torchscript",
    "pack_whole_pt2",
    "read_weights",
    "split_weights",
]
