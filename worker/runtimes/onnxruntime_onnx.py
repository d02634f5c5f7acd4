"""Platform `onnxruntime_onnx`: a whole ONNX model, `model.onnx`.

It is loaded from bytes, so that the file's name and folder mean nothing. A model may point to
further files with its weights; onnxruntime then looks in the working directory, unless it is given
a folder, so it is given an empty one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shared import datatypes
from shared.errors import InvalidInput, LoadFailed, ModelFailed
from shared.manifest import Manifest, TensorSpec
from worker.device.base import Device
from worker.runtimes import failures

MODEL_FILE = "model.onnx"
QUIET = 4  # only fatal errors to stderr; others reach us as exceptions


class OnnxModel:
    """LoadedModel around an onnxruntime session. Weights live on the session's heap, unshared."""

    def __init__(self, manifest: Manifest, session: Any, device: Device) -> None:
        for spec in (*manifest.inputs, *manifest.outputs):
            if spec.datatype == "BF16":
                raise LoadFailed(f"tensor {spec.name!r}: onnxruntime takes no BF16 from numpy")
        self._check_names(manifest, session)
        self._session = session
        self._device = device
        self._inputs = manifest.inputs
        self._outputs = manifest.outputs
        self.bytes_resident = manifest.file(MODEL_FILE).size
        self.shared: dict[str, int] = {}

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One call of the session; ModelFailed in onnxruntime's words, or DeviceOutOfMemory."""
        if self._session is None:
            raise ModelFailed("the model was unloaded before this request: this is a bug")
        given = {spec.name: _to_onnx(inputs[spec.name], spec) for spec in self._inputs}
        with failures.of_model():
            results = self._session.run([spec.name for spec in self._outputs], given)
        return {
            spec.name: _from_onnx(result, spec)
            for spec, result in zip(self._outputs, results, strict=True)
        }

    def unload(self) -> None:
        """Free the session and its memory."""
        self._session = None
        self._device.trim()

    @staticmethod
    def _check_names(manifest: Manifest, session: Any) -> None:
        for kind, specs, known in (
            ("input", manifest.inputs, {node.name for node in session.get_inputs()}),
            ("output", manifest.outputs, {node.name for node in session.get_outputs()}),
        ):
            strangers = [spec.name for spec in specs if spec.name not in known]
            if strangers:
                raise LoadFailed(f"manifest: the model has no {kind} {strangers[0]!r}")
        needed = {node.name for node in session.get_inputs()}
        if missing := needed - {spec.name for spec in manifest.inputs}:
            raise LoadFailed(f"manifest: the model's input {sorted(missing)[0]!r} is not in it")


def load(manifest: Manifest, files: Mapping[str, Path], device: Device) -> OnnxModel:
    """Open a session, on the GPU if onnxruntime can use it; LoadFailed if it is no model."""
    return OnnxModel(manifest, open_session(files[MODEL_FILE], device.name), device)


def open_session(path: Path, device: str = "cpu") -> Any:
    """An onnxruntime session with one intra-op thread; LoadFailed with its own reason."""
    with failures.of_load("ONNX model"), tempfile.TemporaryDirectory() as empty:
        import onnxruntime  # 68 MB of library, for those who have such models

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = QUIET
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", empty
        )
        # Weights outside the arena go back to the system on unload.
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        providers = _providers(device, onnxruntime.get_available_providers())
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=providers)


def _providers(device: str, available: list[str]) -> list[Any]:
    kind, _, index = device.partition(":")
    if kind == "cuda" and "CUDAExecutionProvider" in available:
        return [("CUDAExecutionProvider", {"device_id": index or "0"}), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def _to_onnx(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    if spec.datatype != datatypes.BYTES:
        return np.ascontiguousarray(array).reshape(array.shape)
    try:
        texts = [item.decode() for item in array.ravel()]
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"input {spec.name!r}: the model takes text, this is no UTF-8"
        ) from error
    return np.array(texts, dtype=object).reshape(array.shape)


def _from_onnx(result: Any, spec: TensorSpec) -> np.ndarray:
    if not isinstance(result, np.ndarray):
        raise ModelFailed(f"output {spec.name!r} is no tensor but {type(result).__name__}")
    if spec.datatype == datatypes.BYTES:
        raw = np.empty(result.shape, dtype=object)
        raw.reshape(-1)[:] = [str(text).encode() for text in result.ravel()]
        return raw
    if datatypes.NUMPY[spec.datatype] != result.dtype:
        raise ModelFailed(f"output {spec.name!r} is {result.dtype}, not {spec.datatype}")
    return np.ascontiguousarray(result).reshape(result.shape)
