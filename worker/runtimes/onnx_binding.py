"""A run of an onnxruntime session on the stream of a device, from and to memory of the device.

`session.run` copies inputs and outputs through ordinary memory, in copies that keep a core busy,
and waits on a stream of its own. Here they take the way of a torch model's: through pinned memory,
on the device's compute stream, with one wait in which the thread sleeps. The session has to be
opened on that stream (`open_session`), so nothing waits in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from worker.device.base import Device


def run_bound(
    session: Any, device: Device, outputs: Sequence[str], given: Mapping[str, np.ndarray],
    options: Any | None,
) -> list[np.ndarray]:  # fmt: skip
    """Run `session` on inputs by name, none of them empty; the outputs in host memory, in the order
    of their names. `options`: of the run, so that it does not wait for its own end."""
    kind, index = device.torch_device.type, device.torch_device.index or 0
    with torch.inference_mode(), device.computing():
        binding = session.io_binding()
        placed = {name: device.upload(_host_tensor(array)) for name, array in given.items()}
        for name, tensor in placed.items():
            element = given[name].dtype.type
            binding.bind_input(name, kind, index, element, tuple(tensor.shape), tensor.data_ptr())
        for name in outputs:
            binding.bind_output(name, kind, index)  # onnxruntime knows its size only then
        session.run_with_iobinding(binding, options)
        found = device.download([_tensor_of(value, device) for value in binding.get_outputs()])
    return [tensor.numpy() for tensor in found]


def _host_tensor(array: np.ndarray) -> Tensor:
    # torch warns of memory that it could write to by mistake: a caller's message is copied.
    return torch.from_numpy(np.require(array, requirements=("C", "W")))


def _tensor_of(value: Any, device: Device) -> Tensor:
    """An output of onnxruntime as a tensor over the same memory."""
    if not hasattr(value, "__dlpack__"):  # an older release: it copies, on no stream of ours
        device.synchronise()
        return torch.from_numpy(value.numpy())
    tensor = from_dlpack(value)
    # It gives truth values as bytes.
    return tensor.view(torch.bool) if value.data_type() == "tensor(bool)" else tensor
