"""A loaded model that torch runs, whatever its format: inputs in, one call, outputs out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shared.errors import ModelFailed
from shared.manifest import Manifest, TensorSpec
from worker.device.base import Device
from worker.runtimes import arrays, failures

Forward = Callable[[Sequence[Any]], Any]
ShapesNear = Callable[[int, bool], list[list[int]] | None]
# A smaller copy is not worth a walk over the heap when it is freed.
TRIM_BYTES = 1 << 20


class TorchModel:
    """LoadedModel around `forward`, which takes tensors in the order of `inputs` (default: the
    manifest's), and None for an optional one that was left out.

    `bytes_resident`: bytes of this copy alone. `shared`: bytes by content hash that it holds
    together with other copies, so that a ledger counts each once. `holds`: objects to keep alive
    with the model, for the weak cache of shared objects. `writes`: the model may write to its
    inputs and to what it returned (it has state), so both are copied.
    """

    def __init__(
        self,
        manifest: Manifest,
        device: Device,
        forward: Forward,
        *,
        bytes_resident: int,
        shared: Mapping[str, int],
        inputs: Sequence[TensorSpec] | None = None,
        holds: object = None,
        writes: bool = False,
        shapes_near: ShapesNear | None = None,
    ) -> None:
        arrays.check_specs([*manifest.inputs, *manifest.outputs])
        self._inputs = manifest.inputs if inputs is None else inputs
        self._names = [spec.name for spec in manifest.inputs]
        self._outputs = manifest.outputs
        self._device = device
        self._forward = forward
        self._holds = holds
        self._writes = writes
        self.bytes_resident = bytes_resident
        self.shared = dict(shared)
        self._shapes_near = shapes_near

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One call of the model on the device thread. ModelFailed, DeviceOutOfMemory, or
        InvalidInput where the model's own shape rules refuse what the manifest's shapes allow.
        """
        with failures.of_model(), torch.inference_mode(), self._device.computing():
            given = [self._given(inputs, spec) for spec in self._inputs]
            outputs = arrays.flatten(self._forward(given), self._outputs)
            if self._writes:
                outputs = [output.clone() for output in outputs]
            host = self._device.download(outputs)
            return {
                spec.name: arrays.to_array(tensor, spec)
                for spec, tensor in zip(self._outputs, host, strict=True)
            }

    def _given(self, inputs: dict[str, np.ndarray], spec: TensorSpec) -> Tensor | None:
        if spec.optional and spec.name not in inputs:
            return None
        tensor = arrays.to_tensor(inputs[spec.name], spec.datatype, self._writes)
        return self._device.upload(tensor)

    def shapes_near(self, size: int, one_row: bool) -> list[list[int]] | None:
        """Shapes that the program's own rules allow, one per input in the manifest's order, as near
        to `size` as may be; None if it has no rules, or no such shapes were found."""
        found = self._shapes_near(size, one_row) if self._shapes_near else None
        if found is None:
            return None
        shapes = dict(zip((spec.name for spec in self._inputs), found, strict=True))
        return [shapes[name] for name in self._names]

    def unload(self) -> None:
        """Free this copy; memory that other copies share is freed with the last of them."""
        self._device.synchronise()
        self._forward = _unloaded
        self._holds = None
        if self.bytes_resident >= TRIM_BYTES:
            self._device.trim()


def _unloaded(given: Sequence[Tensor]) -> Any:
    raise ModelFailed("the model was unloaded before this request ran: this is a bug")
