"""Opening an onnxruntime session from a file, with as little memory held as its run allows.

By path, since Python's InferenceSession would keep a copy of the bytes that it is given. Without
the CPU arena, which keeps the most that any request has needed: measured with three convolutions,
455 MiB after one large image, against none, at the same speed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from worker.runtimes import failures, onnx_errors

QUIET = 4  # only fatal errors to stderr; others reach us as exceptions


def open_session(path: Path, device: str = "cpu", *, to_look: bool = False) -> Any:
    """An onnxruntime session with one intra-op thread; LoadFailed with its own reason. `to_look`:
    weights stay mapped from the model's external data as they are, and runs are slow."""
    import onnxruntime  # 68 MB of library, for those who have such models

    with failures.of_load("ONNX model", onnx_errors.explain):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = QUIET
        options.enable_cpu_mem_arena = False
        if device != "cpu":  # outside the GPU's arena; on the CPU it would copy what is mapped
            options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        if to_look:
            options.add_session_config_entry("session.disable_prepacking", "1")
        providers = _providers(device, onnxruntime.get_available_providers())
        return onnxruntime.InferenceSession(str(path), options, providers=providers)


def _providers(device: str, available: list[str]) -> list[Any]:
    kind, _, index = device.partition(":")
    if kind == "cuda" and "CUDAExecutionProvider" in available:
        return [("CUDAExecutionProvider", {"device_id": index or "0"}), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]
