"""Running out of memory, in the words of everybody who can say so."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from worker.device.out_of_memory import out_of_memory

CPU_ALLOCATOR = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 4503599627370496 bytes. Error code 12 (Cannot allocate memory)"
)
CUDA_ALLOCATOR = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB of "
    "which 9.94 GiB is free."
)
ARENA = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv "
    "node. Name:'Conv_1' Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:"
    "376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*, "
    "bool, onnxruntime::WaitNotificationFn) Failed to allocate memory for requested buffer of size "
    "939524096"
)
TORCHSCRIPT = (
    "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript "
    "(most recent call last):\n    return torch.ones([1]) <--- HERE\nRuntimeError: "
)
OnnxError = onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException

ON_DEVICE = [
    torch.OutOfMemoryError(CUDA_ALLOCATOR),
    RuntimeError(TORCHSCRIPT + CUDA_ALLOCATOR),
    RuntimeError(
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some "
        "other API call, so the stacktrace below might be incorrect."
    ),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate`"),
    RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    OnnxError(ARENA),
    OnnxError("CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc((void**)&p, size);"),
    OnnxError("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cublasCreate(&h);"),
    OnnxError("CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cudnnCreate(&h);"),
    OnnxError("Available memory of 100 is smaller than requested bytes of 939524096"),
]
ON_HOST = [
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError(CPU_ALLOCATOR),
    RuntimeError(TORCHSCRIPT + CPU_ALLOCATOR),
    RuntimeError("unable to mmap 1073741824 bytes from file </x>: Cannot allocate memory (12)"),
    RuntimeError("std::bad_alloc"),
    OnnxError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Status Message: std::bad_alloc"),
]
SOMETHING_ELSE = [
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
    RuntimeError("Storage size calculation overflowed with sizes=[4611686018427387904]"),
    OSError(errno.ENOSPC, "No space left on device"),
    ValueError("CUDA out of memory"),  # a model's own words
    OnnxError("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x"),
]


@pytest.mark.parametrize("error", ON_DEVICE, ids=str)
def test_a_full_device_is_recognised(error):
    """torch's, CUDA's libraries' and onnxruntime's words for it."""
    translated = out_of_memory(error)
    assert translated is not None
    assert translated.message == "the device has no memory left for this"


@pytest.mark.parametrize("error", ON_HOST, ids=str)
def test_a_full_host_is_recognised(error):
    """The system's words, and those of the allocators above it."""
    translated = out_of_memory(error)
    assert translated is not None
    assert translated.message == "the host has no memory left for this"


@pytest.mark.parametrize("error", SOMETHING_ELSE, ids=str)
def test_other_failures_are_left_alone(error):
    """Nothing is evicted for them."""
    assert out_of_memory(error) is None


def expand(arena: bool) -> Callable[[], object]:
    """A call of a real ONNX model that wants 4 PiB."""
    shape = helper.make_tensor_value_info("shape", TensorProto.INT64, [2])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node("ConstantOfShape", ["shape"], ["y"])
    graph = helper.make_graph([node], "huge", [shape], [output])
    opset = [helper.make_opsetid("", 13)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opset, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = arena
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"shape": np.array([1 << 30, 1 << 20])})


def huge(x: torch.Tensor) -> torch.Tensor:
    return torch.ones([1 << 40, 1 << 10]) + x


def script() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(huge)(torch.ones(1))


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.empty(1 << 60, dtype=torch.uint8),
        script,
        expand(arena=True),
        expand(arena=False),
        lambda: np.zeros(1 << 60, "u1"),
    ],
    ids=["torch", "TorchScript", "onnxruntime", "onnxruntime without an arena", "numpy"],
)
def test_real_allocations_that_fail_are_recognised(call):
    """The installed versions say it in words that are known here."""
    with pytest.raises(Exception) as caught:
        call()
    assert out_of_memory(caught.value) is not None, caught.value
