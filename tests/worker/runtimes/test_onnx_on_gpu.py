"""ONNX on a GPU worker: by its CUDA provider, or not at all. Without a GPU, by fakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from shared.causes import CLASS, scope_of
from shared.errors import LoadFailed
from tests.helpers.onnx_models import save, scaled
from worker.runtimes.onnx_session import open_session, run_options

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Session:
    """A session as onnxruntime would make it. `works`: whether its CUDA provider starts."""

    def __init__(self, seen: list[Any], works: bool) -> None:
        self.seen, self.works = seen, works
        self.fallback = True

    def __call__(self, path: str, options: Any, providers: list[Any]) -> Session:
        self.seen.append(providers)
        return self

    def disable_fallback(self) -> None:
        self.fallback = False

    def get_providers(self) -> list[str]:
        return [CUDA, CPU] if self.works else [CPU]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """The build for GPUs, whose provider works or not; the providers that sessions ask for."""

    def install(works: bool) -> tuple[Session, list[Any]]:
        seen: list[Any] = []
        session = Session(seen, works)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
        monkeypatch.setattr(onnxruntime, "InferenceSession", session)
        return session, seen

    return install


def test_the_build_for_cpus_is_refused_on_a_gpu_with_what_to_install(tmp_path: Path) -> None:
    """Nothing runs on the CPU in silence while the GPU waits. Another class of workers may take
    the model."""
    with pytest.raises(LoadFailed, match=r"install 'warmroute\[worker-gpu\]'.*DEVICE=cpu") as told:
        open_session(save(scaled(), tmp_path / "m.onnx"), "cuda:0")
    assert scope_of(told.value) == CLASS


def test_a_provider_that_did_not_start_is_refused_too(installed, tmp_path: Path) -> None:
    """onnxruntime only logs that it fell back."""
    installed(False)
    with pytest.raises(LoadFailed, match="its CUDA provider did not start"):
        open_session(tmp_path / "m.onnx", "cuda:0", memory_bytes=5)


def test_memory_is_taken_as_requested_and_algorithms_are_not_measured(
    installed, tmp_path: Path
) -> None:
    """And a run that fails on the GPU does not move the session to the CPU."""
    session, seen = installed(True)
    assert open_session(tmp_path / "m.onnx", "cuda:0", memory_bytes=1000) is session
    (((name, options), other),) = seen
    assert (name, other) == (CUDA, CPU)
    assert options == {
        "device_id": "0", "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0", "gpu_mem_limit": "1000",
    }  # fmt: skip
    assert session.fallback is False
    open_session(tmp_path / "m.onnx", "cuda:0", stream=4711)
    assert seen[1][0][1]["user_compute_stream"] == "4711"


def test_a_cpu_worker_asks_for_no_gpu(installed, tmp_path: Path) -> None:
    """Whatever build is installed."""
    _, seen = installed(False)
    open_session(tmp_path / "m.onnx")
    assert seen == [[CPU]]


@pytest.mark.parametrize(
    ("device", "size", "shrinks"), [("cpu", 1 << 30, False), ("cuda:0", 1 << 10, False),
                                    ("cuda:0", 1 << 23, True)],
)  # fmt: skip
def test_the_arena_returns_what_a_large_run_has_left(device: str, size: int, shrinks: bool) -> None:
    """A small one keeps it for the next."""
    options = run_options(device, size)
    assert (options is not None) == shrinks
    if options is not None:
        assert options.get_run_config_entry("memory.enable_memory_arena_shrinkage") == "gpu:0"


def test_a_bound_run_does_not_wait_for_its_end() -> None:
    """Its caller waits for the copies of its outputs, and sleeps then."""
    options = run_options("cuda:0", 1, bound=True)
    assert options.get_run_config_entry("disable_synchronize_execution_providers") == "1"
    assert run_options("cpu", 1, bound=True) is None


def test_a_run_with_options_is_a_run(tmp_path: Path) -> None:
    """The installed onnxruntime takes them as its third argument."""
    session = onnxruntime.InferenceSession(
        str(save(scaled(), tmp_path / "m.onnx")), providers=[CPU]
    )
    given = {one.name: np.ones([2 if not isinstance(n, int) else n for n in one.shape], np.float32)
             for one in session.get_inputs()}  # fmt: skip
    assert session.run(None, given, onnxruntime.RunOptions())
