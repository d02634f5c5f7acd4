"""Every way in which a request can fail, by every door: one line in the logs of the whole cell.

Two gateways and a worker, real processes. A request is asked for by waiting, by submitting, and by
a stream; its id leads to one line with its cause, whoever wrote it.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shared.manifest import Manifest, TensorSpec
from shared.repository import publish
from tests.helpers.models import WIDTH, Array, Slow, publish_mlp, publish_slow
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from tests.judge.outcomes import TERMINAL
from tests.system.setup import Broken, open_stack

SPEC = TensorSpec("x", "FP32", [-1, WIDTH])
RAISES, WRONG = 1.0, 2.0
PATIENCE_S = 40
TRIES = 5


class _Moody(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if float(x[0, 0]) == 1.0:
            raise RuntimeError("at most so much\n and a second line")
        if float(x[0, 0]) == 2.0:
            return x.to(torch.int64)
        return x


class Failing(NamedTuple):
    """How a request fails: what is asked of which model, and what its line must say."""

    model: str
    inputs: dict[str, Array]
    code: str
    status: int
    cause: str
    timeout_s: float = 30.0


Way = Callable[["Cast"], Failing]


class Cast(NamedTuple):
    """The models that the ways are about."""

    stack: Stack
    moody: str
    slow: Slow
    held: dict[str, Array]  # for the slow one: until the test has ended
    broken: Broken


def rows(first: float) -> dict[str, Array]:
    """One row that begins so."""
    x = np.zeros((1, WIDTH), np.float32)
    x[0, 0] = first
    return {"x": x}


def raises(cast: Cast) -> Failing:
    return Failing(cast.moody, rows(RAISES), "model_failed", 500, "and a second line")


def wrong_output(cast: Cast) -> Failing:
    return Failing(cast.moody, rows(WRONG), "model_failed", 500, "int64, not FP32")


def too_late_running(cast: Cast) -> Failing:
    cast.stack.client().infer(cast.slow.name, cast.slow.question(0.001))
    return Failing(cast.slow.name, cast.held, "expired", 504, "placed on", 1.4)


def unloadable(cast: Cast) -> Failing:
    cast.broken.hold(f"no archive {time.monotonic_ns()}".encode())
    cast.broken.write()
    return Failing(cast.broken.name, rows(0), "load_failed", 422, "")


def corrupt(cast: Cast) -> Failing:
    cast.broken.hold(f"what it was {time.monotonic_ns()}".encode() * 9)
    cast.broken.blob.write_bytes(b"x" * cast.broken.file["size"])
    cast.broken.write()
    return Failing(cast.broken.name, rows(0), "corrupt", 422, "sha256")


def blob_missing(cast: Cast) -> Failing:
    cast.broken.declare(f"nobody has this {time.monotonic_ns()}".encode())
    cast.broken.write()
    return Failing(cast.broken.name, rows(0), "blob_missing", 502, "")


WAYS: list[Way] = [raises, wrong_output, too_late_running, unloadable, corrupt, blob_missing]


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two gateways and a worker, of this module alone: it reads all their logs."""
    folder = tmp_path_factory.mktemp("failures")
    with open_stack(folder, WARMROUTE_UNLOADABLE_S="1", WARMROUTE_CATALOG_TTL_S="0") as stack:
        stack.scale(gateways=2, workers=1)
        yield stack


@pytest.fixture(scope="module")
def moody(cell: Stack) -> str:
    """A model that fails as it is asked to."""
    file = cell.folder / "moody.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(_Moody().eval()).save(str(file))
    manifest = Manifest(
        name="moody", version=1, platform="pytorch_torchscript", inputs=[SPEC],
        outputs=[TensorSpec("y", "FP32", [-1, WIDTH])], files=[],
    )  # fmt: skip
    publish(cell.repository, manifest, {"model.pt": file})
    return "moody"


@pytest.fixture
def cast(cell: Stack, moody: str, tmp_path: Path) -> Iterator[Cast]:
    """Models that the shared one could not be."""
    good = publish_mlp(cell.repository, tmp_path)
    slow = publish_slow(cell.repository, tmp_path)
    with slow.holding() as held:
        yield Cast(cell, moody, slow, held, Broken(cell, good, f"broken-{time.monotonic_ns()}"))


def body(failing: Failing) -> bytes:
    """The V2 request."""
    inputs = [
        {
            "name": name,
            "datatype": "INT64" if array.dtype == np.int64 else "FP32",
            "shape": list(array.shape),
            "data": array.ravel().tolist(),
        }
        for name, array in failing.inputs.items()
    ]
    parameters = {"timeout": round(failing.timeout_s * 1e6)}
    return json.dumps({"inputs": inputs, "parameters": parameters}).encode()


def by_waiting(stack: Stack, failing: Failing) -> str:
    """Ask and wait."""
    answer = stack.http("POST", f"/v2/models/{failing.model}/infer", body(failing))
    assert answer.status == failing.status, answer
    assert answer.headers["warmroute-error"] == failing.code
    request_id = answer.headers["warmroute-request-id"]
    assert answer.headers.get("warmroute-worker", "") == worker_of(stack, request_id)
    return request_id


def by_submitting(stack: Stack, failing: Failing) -> str:
    """Submit, and ask another gateway until it has ended."""
    path, prefer = f"/v2/models/{failing.model}/infer", {"Prefer": "respond-async"}
    answer = stack.http("POST", path, body(failing), prefer)
    assert answer.status == 202, answer
    return answer.headers["warmroute-request-id"]


def by_stream(stack: Stack, failing: Failing) -> str:
    """Write to the stream door, and read the answer."""
    to = f"{stack.keys.answers}{time.monotonic_ns()}"
    fields: dict[str, Any] = {"model": failing.model, "body": body(failing), "reply_to": to}
    stack.redis.xadd(stack.keys.ingress, fields)
    block_until(lambda: stack.redis.xlen(to), PATIENCE_S)
    ((_, answer),) = stack.redis.xrange(to)
    assert answer[b"code"] == failing.code.encode()
    return answer[b"request"].decode()


def worker_of(stack: Stack, request_id: str) -> str:
    """Who had it in the end, as is known of it."""
    path = f"/v2/requests/{request_id}"
    block_until(lambda: stack.http("GET", path).json()["status"] in TERMINAL, PATIENCE_S)
    return str(stack.http("GET", path).json().get("worker", ""))


def the_line(stack: Stack, request_id: str) -> str:
    """The one line; none comes after it."""
    block_until(lambda: stack.failures(request_id), PATIENCE_S)
    time.sleep(1)
    (line,) = stack.failures(request_id)
    return line


def at_the_worker(
    cast: Cast, way: Way, door: Callable[[Stack, Failing], str]
) -> tuple[Failing, str]:
    """One that failed there. On a busy machine a short deadline may pass on the way."""
    for _ in range(TRIES):
        failing = way(cast)
        request_id = door(cast.stack, failing)
        if worker_of(cast.stack, request_id):
            return failing, request_id
    raise AssertionError(f"none of {TRIES} requests got to a worker")


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("door", [by_waiting, by_submitting, by_stream])
@pytest.mark.parametrize("way", WAYS)
def test_a_failure_has_one_line_in_the_logs_of_the_cell(
    cast: Cast, way: Way, door: Callable[[Stack, Failing], str]
) -> None:
    """With model, version, worker, code, status and cause; and its id tells the same."""
    failing, request_id = at_the_worker(cast, way, door)
    line = the_line(cast.stack, request_id)
    worker = cast.stack.workers[0].name
    wanted = f"model={failing.model} version=1 worker={worker} code={failing.code} "
    assert wanted + f"status={failing.status} cause=" in line
    assert failing.cause in line
    known = cast.stack.http("GET", f"/v2/requests/{request_id}").json()
    assert (known["code"], known["worker"]) == (failing.code, worker)
    assert known["status"] == ("expired" if failing.code == "expired" else "failed")


@pytest.mark.slow
def test_the_gateway_that_took_it_in_was_killed(cast: Cast) -> None:
    """Its caller is gone, the request fails, and the other gateway writes the line."""
    stack = cast.stack
    victim = stack.add_gateway()
    pending = stack.client(victim).submit(cast.slow.name, cast.held, timeout=1.5)
    stack.kill(victim)
    assert "code=expired" in the_line(stack, pending.id)


@pytest.mark.slow
def test_what_was_taken_back_is_no_failure(cast: Cast) -> None:
    """It has no line: nothing failed."""
    stack = cast.stack
    pending = stack.client().submit(cast.slow.name, cast.held)
    pending.cancel()
    time.sleep(1)
    assert stack.failures(pending.id) == []
