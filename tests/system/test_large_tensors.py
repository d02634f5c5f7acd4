"""Large tensors of callers who wait: through shared memory where it is shared, and all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deploy.samples.catalogue import publish_all
from tests.helpers.samples import built
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from tests.system.setup import open_stack

MODEL = "identity-fp32"
LARGE = np.arange(262_144, dtype=np.float32).reshape(1, -1)  # 1 MiB


@pytest.fixture(params=["on", "off"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """The folder for shared memory; None for a stack that uses none."""
    if request.param == "off":
        return None
    folder = tmp_path / "memory"
    folder.mkdir()
    return folder


@pytest.fixture
def stack(tmp_path: Path, memory: Path | None) -> Iterator[Stack]:
    """A gateway and a worker with the identity model."""
    with open_stack(tmp_path, WARMROUTE_SHARED_MEMORY=str(memory or "off")) as stack:
        publish_all(stack.repository, built([MODEL]))
        stack.scale(gateways=1, workers=1)
        stack.client().infer(MODEL, {"input": LARGE[:, :8]})
        yield stack


def files(memory: Path | None) -> list[Path]:
    """What lies in shared memory for requests."""
    return [path for path in memory.rglob("*") if ".in" in path.name] if memory else []


def test_a_large_tensor_comes_back_whole(stack: Stack, memory: Path | None) -> None:
    """A megabyte in and out, waiting and polled; nothing is left of it afterwards."""
    for _ in range(5):
        assert np.array_equal(stack.client().infer(MODEL, {"input": LARGE})["output"], LARGE)
    submitted = stack.client().submit(MODEL, {"input": LARGE})
    assert np.array_equal(submitted.result(timeout=30)["output"], LARGE)
    block_until(lambda: files(memory) == [])


def test_a_worker_that_starts_later_finds_large_tensors_too(stack: Stack) -> None:
    """By shared memory or by Redis."""
    stack.scale(gateways=1, workers=0)
    stack.scale(gateways=1, workers=1)
    for _ in range(3):
        assert np.array_equal(stack.client().infer(MODEL, {"input": LARGE})["output"], LARGE)
