"""Platform `onnxruntime_onnx`: a whole ONNX model, `model.onnx`, and the files with its weights.

A model may point to further files by paths below its folder. It is opened in a folder that holds
the version's files under their names, and nothing else, so it can see no file but its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared import datatypes
from shared.errors import InvalidInput, LoadFailed, ModelFailed
from shared.manifest import Manifest, TensorSpec
from worker.device.base import Device
from worker.runtimes import failures
from worker.runtimes.onnx_session import laid_out, open_session, run_options

MODEL_FILE = "model.onnx"
FOLDERS = "laid-out"  # beside the folder of the blobs
TRIM_BYTES = 1 << 20  # less is not worth a walk over the heap
Tied = dict[str, list[tuple[str, int]]]


class OnnxModel:
    """LoadedModel around an onnxruntime session. Weights are on the session's heap, not shared."""

    def __init__(self, manifest: Manifest, session: Any, device: Device) -> None:
        for spec in (*manifest.inputs, *manifest.outputs):
            if spec.datatype not in datatypes.ONNX.values():
                raise LoadFailed(
                    f"tensor {spec.name!r}: onnxruntime does not take {spec.datatype} from numpy"
                )
        _check_names(manifest, session)
        self._session = session
        self._device = device
        self._inputs = manifest.inputs
        self._outputs = manifest.outputs
        self._tied = tied_sizes(session.get_inputs())
        self._binds = device.kind == "cuda" and can_bind([*manifest.inputs, *manifest.outputs])
        self.bytes_resident = self._beside = manifest.total_bytes
        self.shared: dict[str, int] = {}
        device.take_beside(self._beside)

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the session once. ModelFailed with onnxruntime's message, DeviceOutOfMemory, or
        InvalidInput if it fails and sizes differ to which the model gives one name."""
        if self._session is None:
            raise ModelFailed("the model was unloaded before this request: this is a bug")
        expected = [spec for spec in self._inputs if spec.name in inputs or not spec.optional]
        given = {spec.name: _to_onnx(inputs[spec.name], spec) for spec in expected}
        try:
            with failures.of_model():
                results = self._results(given)
        except ModelFailed as error:
            if unequal := _unequal(self._tied, given):
                raise InvalidInput(unequal) from error
            raise
        return {
            spec.name: _from_onnx(result, spec)
            for spec, result in zip(self._outputs, results, strict=True)
        }

    def _results(self, given: Mapping[str, np.ndarray]) -> Sequence[Any]:
        names = [spec.name for spec in self._outputs]
        size = sum(array.nbytes for array in given.values())
        bound = self._binds and all(array.size for array in given.values())
        options = run_options(self._device.name, size, bound=bound)
        if bound:
            from worker.runtimes.onnx_binding import run_bound  # needs torch; a push does not

            return run_bound(self._session, self._device, names, given, options)
        results: Sequence[Any] = self._session.run(names, given, options)
        return results

    def unload(self) -> None:
        """Free the session and its memory."""
        self._session = None
        self._device.take_beside(-self._beside)
        self._beside = 0
        self._device.trim()


def can_bind(specs: Sequence[TensorSpec]) -> bool:
    """Whether tensors of these kinds can be in a device's memory: texts cannot."""
    return all(spec.datatype != datatypes.BYTES for spec in specs)


def load(manifest: Manifest, files: Mapping[str, Path], device: Device) -> OnnxModel:
    """Open a session, on the GPU if onnxruntime can use it; LoadFailed if it is not a model."""
    if files[MODEL_FILE].name == manifest.file(MODEL_FILE).sha256:
        session = _open_blobs(files, device)
    else:  # the publisher's folder, in which the files already have their names
        session = _session_of(files[MODEL_FILE], device)
    model = OnnxModel(manifest, session, device)
    if model.bytes_resident >= TRIM_BYTES:
        device.trim()  # reading the file has taken as much again as the model
    return model


def _open_blobs(files: Mapping[str, Path], device: Device) -> Any:
    near = files[MODEL_FILE].parent.with_name(FOLDERS)
    try:
        return _open(files, near, device)
    except LoadFailed as error:
        if "hard link" not in str(error.__cause__):
            raise
        return _open(
            files, near, device, copied=True
        )  # as its error demands where links may be unsafe


def _open(files: Mapping[str, Path], near: Path, device: Device, *, copied: bool = False) -> Any:
    with laid_out(files, near, copied=copied) as folder:
        return _session_of(folder / MODEL_FILE, device)


def _session_of(path: Path, device: Device) -> Any:
    """On a GPU its arena may take what is free now: what others hold is not to be had anyway."""
    if device.kind == "cpu":
        return open_session(path)
    device.relieve()  # onnxruntime has no part in torch's cache
    free = max(0, device.memory_total() - device.memory_used())
    return open_session(
        path, device.name, memory_bytes=free, tf32=device.tf32, stream=device.stream
    )


def _check_names(manifest: Manifest, session: Any) -> None:
    needed = {node.name for node in session.get_inputs()}
    optional = {node.name for node in session.get_overridable_initializers()}
    for kind, specs, known in (
        ("input", manifest.inputs, needed | optional),
        ("output", manifest.outputs, {node.name for node in session.get_outputs()}),
    ):
        unknown = [spec.name for spec in specs if spec.name not in known]
        if unknown:
            raise LoadFailed(f"manifest: the model has no {kind} {unknown[0]!r}")
    if missing := needed - {spec.name for spec in manifest.inputs if not spec.optional}:
        raise LoadFailed(
            f"manifest: the model's input {sorted(missing)[0]!r} is missing, or marked as optional "
            "although every request must give it"
        )


def tied_sizes(nodes: Sequence[Any]) -> Tied:
    """Sizes to which the model gives one name, as (input, axis) of two or more places each.
    onnxruntime does not compare them, and a run may succeed all the same; if it fails, a difference
    is the reason."""
    places: Tied = {}
    for node in nodes:
        for axis, size in enumerate(node.shape):
            if isinstance(size, str) and size:
                places.setdefault(size, []).append((node.name, axis))
    return {name: where for name, where in places.items() if len(where) > 1}


def _unequal(tied: Tied, given: Mapping[str, np.ndarray]) -> str:
    for name, places in tied.items():
        sizes = [(place, given[place[0]].shape[place[1]]) for place in places]
        (first, size), *others = sizes
        for other, differs in others:
            if differs != size:
                return (
                    f"input {other[0]!r}: dimension {other[1]} is {differs}, dimension {first[1]} "
                    f"of {first[0]!r} is {size}: both are {name!r} in the model, which fails "
                    "where they differ"
                )
    return ""


def _to_onnx(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    if spec.datatype != datatypes.BYTES:
        return np.ascontiguousarray(array).reshape(array.shape)
    try:
        texts = [item.decode() for item in array.ravel()]
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"input {spec.name!r}: the model takes text, this is not UTF-8"
        ) from error
    return np.array(texts, dtype=object).reshape(array.shape)


def _from_onnx(result: Any, spec: TensorSpec) -> np.ndarray:
    if not isinstance(result, np.ndarray):
        raise failures.WrongOutput(
            f"output {spec.name!r} is not a tensor but {type(result).__name__}"
        )
    if spec.datatype == datatypes.BYTES:
        raw = np.empty(result.shape, dtype=object)
        raw.reshape(-1)[:] = [str(text).encode() for text in result.ravel()]
        return raw
    if datatypes.NUMPY[spec.datatype] != result.dtype:
        raise failures.WrongOutput(f"output {spec.name!r} is {result.dtype}, not {spec.datatype}")
    return np.ascontiguousarray(result).reshape(result.shape)
