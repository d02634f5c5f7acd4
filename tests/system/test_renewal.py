"""A model that leaks: its process drains, is replaced, and holds again what was hot. Nobody waits
for an answer in vain."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shared.manifest import Manifest, TensorSpec
from shared.repository import publish
from tests.helpers.models import Mlp, publish_mlp
from tests.helpers.pair import Process
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from tests.system.setup import open_stack

LEAKED, LIMIT = 200_000, 20_000_000  # bytes: by each request, and at most
REPLACED_S = 60


class _Leaky(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kept = [torch.zeros(1)]

    def forward(self, x: Tensor) -> Tensor:
        self.kept.append(torch.full([50000], float(len(self.kept))))
        return x


def publish_leaky(stack: Stack) -> str:
    """A model that keeps LEAKED bytes of each request for ever."""
    file = stack.folder / "leaky.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(_Leaky().eval()).save(str(file))
    manifest = Manifest(
        name="leaky", version=1, platform="pytorch_torchscript",
        inputs=[TensorSpec("x", "FP32", [1])], outputs=[TensorSpec("y", "FP32", [1])], files=[],
    )  # fmt: skip
    publish(stack.repository, manifest, {"model.pt": file})
    return manifest.name


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A gateway, and a worker that may not leak much."""
    with open_stack(tmp_path, WARMROUTE_UNACCOUNTED_BYTES=str(LIMIT)) as opened:
        opened.scale(gateways=1, workers=1)
        yield opened


@contextmanager
def asked_all_the_time(stack: Stack, model: Mlp) -> Iterator[list[bool]]:
    """For the block somebody asks `model`, again and again: whether each answer was right."""
    answers: list[bool] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            question = model.question(len(answers))
            said = stack.client().infer(model.name, question, timeout=REPLACED_S)["y"]
            answers.append(model.right(question, said))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join(REPLACED_S)
    assert not thread.is_alive()


def process_of(stack: Stack, worker: Process) -> tuple[int, bytes]:
    """The device process, and the state in which the cell knows it."""
    state = stack.redis.hget(stack.keys.worker(worker.name), "state") or b""
    return stack.device_pid(worker), state


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_process_that_leaks_is_replaced_while_all_are_answered(stack: Stack) -> None:
    """The same worker, another process. It held the models again, and called it no crash."""
    leaky, mlp = publish_leaky(stack), publish_mlp(stack.repository, stack.folder)
    worker = stack.workers[0]
    before = stack.device_pid(worker)

    def leak_until_replaced() -> bool:
        stack.client().infer(leaky, {"x": np.zeros(1, np.float32)}, timeout=REPLACED_S)
        return process_of(stack, worker)[0] not in (0, before)

    with asked_all_the_time(stack, mlp) as answers:
        block_until(leak_until_replaced, REPLACED_S)
        block_until(lambda: process_of(stack, worker)[1] == b"ready", REPLACED_S)
        count = len(answers)
        block_until(lambda: len(answers) > count + 10, REPLACED_S)

    assert all(answers)
    block_until(lambda: all(stack.holders(m) == [worker.name] for m in (leaky, mlp.name)))
    assert "MB that no model accounts for, at most 20 MB are allowed" in worker.log
    assert "a new device process starts, as requested" in worker.log
    assert "started again" not in worker.log and "Traceback" not in worker.log
    assert stack.redis.keys(f"{stack.keys.prefix}:breaker:*") == []
