"""Opening an onnxruntime session from files, with as little memory as its runs allow.

By path, since Python's InferenceSession would keep a copy of the bytes that it is given. Without
the CPU arena, which keeps the most that any request has needed: measured with three convolutions,
455 MiB after one large image, against none, at the same speed.

An ONNX model names the files with its weights by paths below its folder, and onnxruntime opens no
other. The blob cache names files by their hash, so hard links with the right names are made beside
it: onnxruntime refuses symbolic links that lead out of the folder. An open session needs none of
the names, so the folder is removed when it is open.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shared.errors import LoadFailed
from shared.repository.disk import disk_errors
from worker.runtimes import failures, onnx_errors

SHRINK_BYTES = 4 << 20  # of inputs; allocating anew would take longer than a smaller run
QUIET = 4  # only fatal errors on stderr; the others are raised as exceptions


CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
NO_CUDA = (
    "ONNX model: this worker has a GPU and its onnxruntime cannot use one: install "
    "'warmroute[worker-gpu]' in place of 'warmroute[worker]', or run a worker with "
    "WARMROUTE_DEVICE=cpu for such models"
)


def open_session(
    path: Path, device: str = "cpu", *, memory_bytes: int = 0, tf32: bool = False, stream: int = 0,
    inspect_only: bool = False,
) -> Any:  # fmt: skip
    """An onnxruntime session with one intra-op thread; LoadFailed with onnxruntime's reason, or if
    it would not run on the `device`. `memory_bytes`: the most that its arena on a GPU may take.
    `tf32`: it may round FP32 products. `stream`: the CUDA stream on which it runs, 0 for one of its
    own. `inspect_only`: weights stay mapped from the model's external data, and runs are slow."""
    import onnxruntime  # 68 MB of library, only for workers with ONNX models

    with failures.of_load("ONNX model", onnx_errors.explain):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = QUIET
        options.enable_cpu_mem_arena = False
        if device != "cpu":  # outside the GPU's arena; on the CPU it would copy what is mapped
            options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        if inspect_only:
            options.add_session_config_entry("session.disable_prepacking", "1")
        available = onnxruntime.get_available_providers()
        providers = _providers(device, memory_bytes, tf32, stream, available)
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        session.disable_fallback()  # else a run that fails on the GPU goes on on the CPU for good
        if device != "cpu" and CUDA not in session.get_providers():
            raise LoadFailed(f"{NO_CUDA} (its CUDA provider did not start: a library is missing)")
        return session


def _providers(
    device: str, memory_bytes: int, tf32: bool, stream: int, available: list[str]
) -> list[Any]:  # fmt: skip
    """On a GPU: memory of the size that is asked for (else the arena doubles, and never returns
    any), and algorithms by a rule (else each new batch size is measured, which takes seconds)."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return [CPU]
    if CUDA not in available:
        raise LoadFailed(NO_CUDA)
    chosen = {
        "device_id": index or "0", "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": str(int(tf32)),
        **({"gpu_mem_limit": str(memory_bytes)} if memory_bytes else {}),
        **({"user_compute_stream": str(stream)} if stream else {}),
    }  # fmt: skip
    return [(CUDA, chosen), CPU]


def run_options(device: str, input_bytes: int, *, bound: bool = False) -> Any | None:
    """Options of one run: on a GPU the arena gives back what a large one leaves unused, and a
    `bound` one does not wait for its end: its caller does. None for the usual ones."""
    shrinks = input_bytes >= SHRINK_BYTES
    if device == "cpu" or not (shrinks or bound):
        return None
    import onnxruntime

    options = onnxruntime.RunOptions()
    if bound:
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    if shrinks:
        index = device.partition(":")[2] or "0"
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", f"gpu:{index}")
    return options


LEFT_AFTER_S = 3600.0  # a folder of this age was left by a process that was killed


@contextmanager
def laid_out(files: Mapping[str, Path], near: Path, *, copied: bool = False) -> Iterator[Path]:
    """Make a folder below `near` in which the blobs `files` have their names, and remove it when
    the block ends. `near` is created; where it is not on the blobs' file system, or with `copied`,
    blobs are copied instead of linked. RepositoryError if the disk refuses it."""
    with disk_errors("folder for an ONNX model"):
        near.mkdir(mode=0o700, exist_ok=True)
        _remove_leftovers(near)
        folder = Path(tempfile.mkdtemp(dir=near))
    try:
        with disk_errors("folder for an ONNX model"):
            for name, blob in files.items():
                _place(blob, folder / name, copied)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(blob: Path, target: Path, copied: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not copied:
        with suppress(OSError):  # another file system, or one without links
            os.link(blob, target)
            return
    shutil.copyfile(blob, target)


def _remove_leftovers(near: Path) -> None:
    for folder in near.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > LEFT_AFTER_S:
                shutil.rmtree(folder, ignore_errors=True)
