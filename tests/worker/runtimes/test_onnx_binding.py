"""Runs of onnxruntime from and to the memory of a device: here a CPU's, by the same calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from shared import datatypes
from shared.errors import InvalidInput, ModelFailed
from shared.manifest import Manifest, TensorSpec
from tests.helpers.factories import file_entry, manifest
from tests.helpers.onnx_models import model, save, scaled, squares, value
from worker.device.cpu import CpuDevice
from worker.runtimes import onnx_binding, onnxruntime_onnx
from worker.runtimes.onnx_binding import run_bound
from worker.runtimes.onnx_session import open_session
from worker.runtimes.onnxruntime_onnx import OnnxModel, can_bind

NUMBERS = sorted(set(datatypes.ONNX.values()) - {datatypes.BYTES})


class Gpu(CpuDevice):
    """A CPU that is told to be a GPU, and notes what passes through it."""

    kind = "cuda"

    def __init__(self) -> None:
        super().__init__()
        self.passed: list[str] = []
        self.beside = 0

    def upload(self, tensor: Any) -> Any:
        self.passed.append("up")
        return super().upload(tensor)

    def download(self, tensors: Any) -> Any:
        self.passed.append(f"{len(tensors)} down")
        return super().download(tensors)

    def take_beside(self, size: int) -> None:
        self.beside += size


def described(session: Any) -> Manifest:
    """The manifest of a session's model."""
    specs = [
        [TensorSpec(n.name, datatypes.ONNX[n.type], [s if isinstance(s, int) else -1
                                                     for s in n.shape]) for n in nodes]
        for nodes in (
            [*session.get_inputs(), *session.get_overridable_initializers()], session.get_outputs()
        )
    ]  # fmt: skip
    return manifest(
        platform="onnxruntime_onnx", files=[file_entry("model.onnx", size=1000)],
        inputs=specs[0], outputs=specs[1],
    )  # fmt: skip


@pytest.fixture
def gpu() -> Gpu:
    return Gpu()


@pytest.mark.parametrize("datatype", NUMBERS)
def test_every_kind_of_number_arrives_and_comes_back(datatype: str, tmp_path: Path) -> None:
    """Bit for bit, also from memory that must not be written to."""
    dtype = datatypes.NUMPY[datatype]
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    made = model([helper.make_node("Identity", ["x"], ["y"])], [value("x", ["n", 3], kind)],
                 [value("y", ["n", 3], kind)])  # fmt: skip
    session = open_session(save(made, tmp_path / "m.onnx"))
    given = np.frombuffer(bytes(range(96)), "u1")[: 6 * dtype.itemsize] % 2
    array = given.view(dtype).reshape(2, 3)
    (found,) = run_bound(session, CpuDevice(), ["y"], {"x": array}, None)
    assert (found.dtype, found.shape) == (dtype, (2, 3))
    assert found.tobytes() == array.tobytes()


def test_a_model_of_a_gpu_runs_from_and_to_its_memory(gpu: Gpu, tmp_path: Path) -> None:
    """All inputs that are given, and all outputs in one wait; the answer is the plain run's."""
    session = open_session(save(scaled(), tmp_path / "m.onnx"))
    plain, bound = (OnnxModel(described(session), session, d) for d in (CpuDevice(), gpu))
    asked = {"x": np.arange(5, dtype="f4"), "scale": np.array([7], "f4")}
    np.testing.assert_array_equal(bound.run(asked)["y"], plain.run(asked)["y"])
    assert gpu.passed == ["up", "up", "1 down"]


def test_an_empty_input_has_no_address(gpu: Gpu, tmp_path: Path) -> None:
    """It goes the plain way."""
    session = open_session(save(scaled(), tmp_path / "m.onnx"))
    asked = {"x": np.empty(0, "f4"), "scale": np.array([7], "f4")}
    assert OnnxModel(described(session), session, gpu).run(asked)["y"].shape == (0,)
    assert gpu.passed == []


def test_texts_go_the_plain_way(gpu: Gpu, tmp_path: Path) -> None:
    """They are objects of the host."""
    made = model([helper.make_node("Identity", ["x"], ["y"])],
                 [value("x", ["n"], TensorProto.STRING)],
                 [value("y", ["n"], TensorProto.STRING)])  # fmt: skip
    session = open_session(save(made, tmp_path / "m.onnx"))
    found = OnnxModel(described(session), session, gpu).run({"x": np.array([b"a"], object)})
    assert found["y"].tolist() == [b"a"] and gpu.passed == []
    assert not can_bind([TensorSpec("x", "FP32", [1]), TensorSpec("y", "BYTES", [1])])


def test_a_run_that_fails_is_the_models_or_the_callers(gpu: Gpu, tmp_path: Path) -> None:
    """With the reason of a plain run."""
    session = open_session(save(squares(), tmp_path / "m.onnx"))
    bound = OnnxModel(described(session), session, gpu)
    with pytest.raises(InvalidInput, match="both are 'h'"):
        bound.run({"x": np.zeros((1, 2, 3), "f4")})
    with pytest.raises(ModelFailed, match="Invalid rank"):
        bound.run({"x": np.zeros((1, 2, 2, 2), "f4")})


def test_an_older_onnxruntime_copies_by_itself_once_the_device_is_done(tmp_path: Path) -> None:
    """On no stream of ours: what it copies must be there."""
    order: list[str] = []

    class Value:
        def numpy(self) -> np.ndarray:
            order.append("copied")
            return np.ones(2)

    class Waiting(CpuDevice):
        def synchronise(self) -> None:
            order.append("waited")

    assert onnx_binding._tensor_of(Value(), Waiting()).tolist() == [1, 1]
    assert order == ["waited", "copied"]


def test_its_memory_is_no_other_process_s(gpu: Gpu, tmp_path: Path) -> None:
    """From its load to its unload, once."""
    session = open_session(save(scaled(), tmp_path / "m.onnx"))
    loaded = OnnxModel(described(session), session, gpu)
    assert gpu.beside == 1000
    loaded.bytes_resident = 5000  # as measured later
    loaded.unload()
    loaded.unload()
    assert gpu.beside == 0


def test_a_session_of_a_gpu_runs_on_its_stream(gpu: Gpu, tmp_path: Path, monkeypatch) -> None:
    """Where the copies of its inputs and outputs are queued too."""
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(
        onnxruntime_onnx, "open_session", lambda path, name, **given: seen.append(given)
    )
    gpu.stream = 4711
    onnxruntime_onnx._session_of(tmp_path / "m.onnx", gpu)
    assert seen[0]["stream"] == 4711
