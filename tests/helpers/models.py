"""Small models for tests, each with the answer that it must give computed by plain numpy."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deploy.samples import exporting
from shared.manifest import Batching, Manifest, TensorSpec
from shared.repository import Repository, publish

WIDTH = 16
Array = np.ndarray
_serial = itertools.count(1)
HELD = 1 << 40  # steps; so many are taken only until the gate is open


@dataclass(frozen=True)
class Mlp:
    """A published network of two layers: FP32 `x` [n, 16] in, `y` [n, 16] out."""

    name: str
    first: Array
    second: Array

    @property
    def bytes(self) -> int:
        """What its weights take."""
        return self.first.nbytes + self.second.nbytes

    def question(self, seed: int = 0, rows: int = 1) -> dict[str, Array]:
        """Inputs that differ by `seed`."""
        random = np.random.default_rng(seed)
        return {"x": random.standard_normal((rows, WIDTH), np.float32)}

    def answer(self, question: dict[str, Array]) -> Array:
        """What it must say."""
        return np.tanh(question["x"] @ self.first) @ self.second

    def right(self, question: dict[str, Array], said: Array) -> bool:
        """Whether `said` is that, to rounding."""
        return bool(np.allclose(said, self.answer(question), rtol=1e-4, atol=1e-5))


def publish_mlp(
    repository: Repository, folder: Path, *, size: int = 8192, name: str = "", picky: bool = False
) -> Mlp:
    """Publish an MLP that no other has ever been, of about `size` bytes, as TorchScript. `picky`:
    it fails on inputs of one value only, so a load finds none to try it with."""
    number = next(_serial)
    random = np.random.default_rng(number)
    hidden = max(8, size // (2 * 4 * WIDTH))
    first = random.standard_normal((WIDTH, hidden), np.float32) / 4
    second = random.standard_normal((hidden, WIDTH), np.float32) / np.float32(hidden**0.5)
    model = Mlp(name or f"mlp-{number}", first, second)
    file = folder / f"{model.name}-{number}.pt"
    module = (_Picky if picky else _Mlp)(first, second)
    exporting.write_torchscript(module, (torch.arange(2.0 * WIDTH).reshape(2, WIDTH),), file)
    manifest = Manifest(
        name=model.name,
        version=1,
        platform="pytorch_torchscript",
        inputs=[TensorSpec("x", "FP32", [-1, WIDTH])],
        outputs=[TensorSpec("y", "FP32", [-1, WIDTH])],
        files=[],
        batching=Batching(max_size=32),
    )
    publish(repository, manifest, {"model.pt": file})
    file.unlink()
    return model


@dataclass(frozen=True)
class Slow:
    """A published loop of matrix products whose length is its input `steps`, and its output."""

    name: str
    step_s: float
    gate: Path

    def question(self, seconds: float) -> dict[str, Array]:
        """Inputs that keep one thread of this machine busy for about so long."""
        return {"steps": np.array([max(1, round(seconds / self.step_s))], np.int64)}

    @contextmanager
    def holding(self) -> Iterator[dict[str, Array]]:
        """Inputs that keep a thread busy until the end of the block, however slow the machine is:
        what a test sees within the block it sees while the request runs."""
        self._open_gate(False)
        try:
            yield {"steps": np.array([HELD], np.int64)}
        finally:
            self._open_gate(True)

    def _open_gate(self, yes: bool) -> None:
        with self.gate.open("r+b") as file:  # written in place: it is mapped while it is read
            file.write(bytes([yes]))


def publish_slow(repository: Repository, folder: Path) -> Slow:
    """Publish a model that takes as long as it is asked to."""
    name = f"slow-{next(_serial)}"
    file, gate = folder / f"{name}.pt", folder / f"{name}.gate"
    gate.write_bytes(b"\1")
    file.write_bytes(_slow_script(gate).save_to_buffer())
    manifest = Manifest(
        name=name,
        version=1,
        platform="pytorch_torchscript",
        inputs=[TensorSpec("steps", "INT64", [1])],
        outputs=[TensorSpec("done", "INT64", [1])],
        files=[],
    )
    publish(repository, manifest, {"model.pt": file})
    file.unlink()
    return Slow(name, _step_s(), gate)


@dataclass(frozen=True)
class Pair:
    """A published sum: FP32 `a` [n, 3] and INT64 `b` [n, 2] in, FP32 `y` [n] out, n up to 4."""

    name: str


def publish_pair(repository: Repository, folder: Path) -> Pair:
    """Publish a model with two inputs."""
    name = f"pair-{next(_serial)}"
    file = folder / f"{name}.pt"
    exporting.write_torchscript(
        _Pair(), (torch.zeros(2, 3), torch.zeros(2, 2, dtype=torch.int64)), file
    )
    manifest = Manifest(
        name=name,
        version=1,
        platform="pytorch_torchscript",
        inputs=[TensorSpec("a", "FP32", [-1, 3]), TensorSpec("b", "INT64", [-1, 2])],
        outputs=[TensorSpec("y", "FP32", [-1])],
        files=[],
        batching=Batching(max_size=4),
    )
    publish(repository, manifest, {"model.pt": file})
    file.unlink()
    return Pair(name)


class _Pair(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a.sum(1) + b.sum(1).to(torch.float32)


class _Mlp(nn.Module):
    def __init__(self, first: Array, second: Array) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.from_numpy(first))
        self.second = nn.Parameter(torch.from_numpy(second))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.first) @ self.second


class _Picky(_Mlp):
    def forward(self, x: Tensor) -> Tensor:
        second_value = torch.unique(x).narrow(0, 1, 1)
        return super().forward(x + 0 * second_value)


class _Slow(nn.Module):
    def __init__(self, gate: str) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(256))
        self.gate = gate

    def forward(self, steps: Tensor) -> Tensor:
        state: Tensor = self.matrix
        held = int(steps.item()) == 1099511627776
        for _ in range(int(steps.item())):
            if held and bool(torch.from_file(self.gate, False, 1, dtype=torch.uint8).item()):
                break
            state = torch.tanh(state @ self.matrix)
        return steps + (state[0, 1] * 0).to(torch.int64)


def _slow_script(gate: Path) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(_Slow(str(gate)).eval())


@cache
def _step_s() -> float:
    """The seconds that one step of the loop takes here on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _seconds_per_step(_slow_script(Path("none")))
    finally:
        torch.set_num_threads(threads)


def _seconds_per_step(module: Callable[[Tensor], Tensor], steps: int = 50) -> float:
    taken = []
    with torch.inference_mode():
        for _ in range(3):
            begun = time.perf_counter()
            module(torch.tensor([steps]))
            taken.append(time.perf_counter() - begun)
    return min(taken) / steps
