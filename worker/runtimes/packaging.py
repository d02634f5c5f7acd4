"""What `warmroute push` packs models with, in one place."""

from __future__ import annotations

from worker.runtimes.pack_architecture import pack_architecture
from worker.runtimes.pack_example import arguments, example_inputs
from worker.runtimes.pack_module import pack_module
from worker.runtimes.pack_onnx import pack_onnx
from worker.runtimes.pack_program import pack_pt2
from worker.runtimes.pack_result import Packed
from worker.runtimes.pack_whole import pack_torchscript, pack_whole_pt2
from worker.runtimes.sharding import split_weights
from worker.runtimes.weight_files import read_weights

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
