"""One caller's large body does not stop the others: it is not read or written on the event loop."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router.v2 import request as v2_request
from router.v2 import response as v2_response
from shared import clock, statuses
from shared.envelope import Outcome, Tensor, pack
from shared.errors import WarmrouteError
from shared.manifest import Batching
from shared.names import ModelRef
from tests.helpers.cell import Cell
from tests.helpers.factories import manifest, spec, tensor
from tests.helpers.gateway import (
    INFER,
    RunningGateway,
    answer_all,
    publish_nothing,
    running_gateway,
)
from tests.helpers.wait import wait_until

SIZE = 2 << 20
TEXTS = manifest(inputs=[spec("x", "BYTES", [-1, 2])])
NUMBERS = manifest()
SHARE = 0.25  # of the time that reading the body takes, for which the loop may stand
TRIES = 20  # the machine may be busy otherwise


def _json(count: int, datatype: str, element: str, more: str = "") -> bytes:
    data = ",".join([element] * count)
    row = f'{{"name":"x","datatype":"{datatype}","shape":[{count // 2},2],"data":[{data}]}}'
    return f'{{"inputs":[{row}]{more}}}'.encode()


def _binary_texts() -> tuple[bytes, str]:
    size = {"binary_data_size": SIZE}
    row = {"name": "x", "datatype": "BYTES", "shape": [SIZE // 8, 2], "parameters": size}
    head = json.dumps({"inputs": [row]}).encode()
    return head + bytes(SIZE), str(len(head))


BODIES = {
    "numbers": (NUMBERS, _json(SIZE // 2, "FP32", "0"), None),
    "texts": (TEXTS, _json(SIZE // 3, "BYTES", '""'), None),
    "texts in binary": (TEXTS, *_binary_texts()),
    "unknown members": (
        NUMBERS, _json(2, "FP32", "0", f',"q":{{"a":1}},"z":[{"0," * (SIZE // 2)}0]'), None,
    ),
    "parameters": (
        NUMBERS, _json(2, "FP32", "0", f',"parameters":{{"z":[{"[]," * (SIZE // 3)}0]}}'), None,
    ),
}  # fmt: skip


@pytest.fixture(params=BODIES)
def body(request: pytest.FixtureRequest) -> Iterator[tuple[Any, bytes, str | None]]:
    """A model, a large body for it, and the length of its JSON."""
    yield BODIES[request.param]


async def stands(during: Callable[[], Awaitable[object]]) -> float:
    """The longest time, in seconds, for which this loop stood."""
    task = asyncio.ensure_future(during())
    longest, last = 0.0, clock.monotonic()
    while not task.done():
        await asyncio.sleep(0.001)
        now = clock.monotonic()
        longest, last = max(longest, now - last), now
    await task
    return longest


async def assert_stands_little(work: Callable[[], object], during: Any) -> None:
    """The loop stands for a small part of the time that `work` takes here, at once."""
    shares = []
    for _ in range(TRIES):
        began = clock.monotonic()
        with suppress(WarmrouteError):
            work()
        took = clock.monotonic() - began
        shares.append(await stands(during) / took)
        if shares[-1] < SHARE:
            return
    raise AssertionError(f"the loop stood for {shares} of the time that the work takes")


async def test_the_loop_does_not_stand_while_a_large_body_is_read(
    cell: Cell, tmp_path: Path, body: tuple[Any, bytes, str | None]
) -> None:
    """Whatever it is that is large in it."""
    model, raw, length = body
    headers = {} if length is None else {"Inference-Header-Content-Length": length}
    folder = publish_nothing(tmp_path, inputs=model.inputs)
    async with running_gateway(cell, folder, WARMROUTE_SHARED_MEMORY="off") as gateway:
        for _ in range(2):  # the processes start
            await _post(gateway, raw, headers)
        await assert_stands_little(
            lambda: v2_request.parse(raw, length, model), lambda: _post(gateway, raw, headers)
        )


async def _post(gateway: RunningGateway, raw: bytes, headers: dict[str, str]) -> int:
    ended = headers | {"Warmroute-Timeout": "0.001"}  # nobody runs it
    async with gateway.http.post(INFER, data=io.BytesIO(raw), headers=ended) as answer:
        await answer.read()
        assert answer.status in (400, 504)
        return answer.status


LARGE = Outcome([tensor(np.linspace(0, 1, SIZE // 4, dtype="<f4"), "y")], "mine")
WORDS = Outcome([Tensor("y", "BYTES", [SIZE // 4], memoryview(bytes(SIZE)))])


@pytest.mark.parametrize("outcome", [LARGE, WORDS], ids=["numbers", "texts"])
async def test_the_loop_does_not_stand_while_a_large_answer_is_written(
    cell: Cell, tmp_path: Path, outcome: Outcome
) -> None:
    """Neither for a caller who waits nor for one who polls; it is the answer all the same."""
    async with running_gateway(cell, publish_nothing(tmp_path)) as gateway:
        epoch = await cell.worker(holds=[await gateway.ref()], lease_ms=600_000)
        ref = ModelRef.parse(await gateway.ref())
        want, _ = v2_response.render(outcome, ref, {}, False)
        async with gateway.http.post(
            INFER, data=_json(2, "FP32", "1"), headers={"Prefer": "respond-async"}
        ) as accepted:
            where = accepted.headers["Location"]
        await answer_all(cell, epoch, pack(outcome))
        _, _, shown = await gateway.get(where)
        assert shown["status"] == statuses.SUCCEEDED
        assert json.dumps(shown["response"]) == json.dumps(json.loads(want))
        await assert_stands_little(
            lambda: v2_response.render(outcome, ref, {}, False), lambda: _read(gateway, where)
        )
        caller = asyncio.create_task(gateway.infer())
        await wait_until(lambda: gateway.waiting == 1)
        await answer_all(cell, epoch, pack(outcome))
        status, headers, document = await caller
        assert (status, json.dumps(document)) == (200, json.dumps(json.loads(want)))
        assert headers["Content-Length"] == str(len(want))


async def _read(gateway: RunningGateway, where: str) -> None:
    async with gateway.http.get(where) as answer:
        async for _ in answer.content.iter_any():
            pass


async def test_a_body_is_no_larger_as_tensors_than_a_binary_one_may_be(
    cell: Cell, tmp_path: Path
) -> None:
    """413 says how large they are."""
    limit = 1 << 20
    env = {"WARMROUTE_MAX_BODY_BYTES": str(limit)}
    raw = _json(1 << 18, "FP64", "0")
    folder = publish_nothing(
        tmp_path, inputs=[spec("x", "FP64", [-1, 2])], batching=Batching(max_size=1 << 20)
    )
    async with running_gateway(cell, folder, **env) as gateway:
        assert len(raw) < limit
        async with gateway.http.post(INFER, data=io.BytesIO(raw)) as answer:
            document = await answer.json()
        assert answer.status == 413
        assert document["error"] == f"inputs: {8 << 18} bytes of tensors, at most {limit}"


async def test_a_process_that_dies_costs_nobody_an_answer(cell: Cell, tmp_path: Path) -> None:
    """What it read is read by another one."""
    raw = BODIES["numbers"][1]
    async with running_gateway(cell, publish_nothing(tmp_path)) as gateway:
        for _ in range(2):  # the model is read, and the processes start
            want = await _post(gateway, raw, {})
        processes = gateway.context.processes
        victims = list(processes._pool._processes)
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        assert await _post(gateway, raw, {}) == want
        assert not set(victims) & set(processes._pool._processes)


async def test_a_process_that_cannot_be_started_is_one_that_died(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool may be closing when it starts one: another has died just now."""
    submit, failures = ProcessPoolExecutor.submit, [OSError("handle is closed")]

    def fails_once(pool: ProcessPoolExecutor, *args: Any) -> Any:
        if failures:
            raise failures.pop()
        return submit(pool, *args)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", fails_once)
    async with running_gateway(cell, publish_nothing(tmp_path)) as gateway:
        assert await gateway.context.processes.run(os.getpid) != os.getpid()
        failures.extend(OSError("no more processes") for _ in range(2))
        with pytest.raises(WarmrouteError, match="retry later"):
            await gateway.context.processes.run(os.getpid)


async def test_what_kills_two_processes_is_refused(cell: Cell, tmp_path: Path) -> None:
    """503, which may be retried; and the next one is served."""
    async with running_gateway(cell, publish_nothing(tmp_path)) as gateway:
        processes = gateway.context.processes
        with pytest.raises(WarmrouteError, match="send binary") as raised:
            await processes.run(os._exit, 1)
        assert raised.value.code == "unavailable"
        assert await processes.run(os.getpid) != os.getpid()
