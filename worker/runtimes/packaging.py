"""What `warmroute push` packs models with, in one place."""

from __future__ import annotations

from worker.runtimes.pack_architecture import pack_architecture
from worker.runtimes.pack_onnx import pack_onnx
from worker.runtimes.pack_program import pack_module, pack_pt2
from worker.runtimes.pack_whole import pack_torchscript, pack_whole_pt2
from worker.runtimes.packed import Packed
from worker.runtimes.sharding import split_weights

__all__ = [
    "Packed",
    "pack_architecture",
    "pack_module",
    "pack_onnx",
    "pack_pt2",
    "pack_torchscript",
    "pack_whole_pt2",
    "split_weights",
]
