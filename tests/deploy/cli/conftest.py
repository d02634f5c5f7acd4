"""A gateway that knows one model, to run the command against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from aiohttp import web

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub

WORKERS = [
    {
        "id": "w1",
        "device": "cpu",
        "state": "ready",
        "budget_bytes": 200 << 20,
        "used_bytes": 3 << 20,
        "queue": 2,
        "models": [
            {"name": "double", "version": "1", "tier": "device", "bytes": 3 << 20, "since": ""}
        ],
    },
    {"id": "w2", "device": "cpu", "state": "draining", "models": []}
    | {"budget_bytes": 0, "used_bytes": 0, "queue": 0},
]


@pytest.fixture
def gateway(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """WARMROUTE_URL names it; its model `double` gives back twice its input."""

    async def residency(request: web.Request) -> web.Response:
        return web.json_response({"workers": WORKERS})

    async def index(request: web.Request) -> web.Response:
        entry = {"name": "double", "version": "1", "state": "READY", "reason": ""}
        return web.json_response([entry])

    async def metadata(request: web.Request) -> web.Response:
        spec = {"name": "input", "datatype": "FP32", "shape": [-1, 2]}
        return web.json_response({"name": "double", "inputs": [spec], "outputs": []})

    async def infer(request: web.Request) -> web.Response:
        length = int(request.headers["Inference-Header-Content-Length"])
        array = np.frombuffer((await request.read())[length:], "<f4").reshape(-1, 2)
        return stub.outputs({"output": array * 2}, worker="w1", cold="false")

    stub.answer("GET", "/v2/residency", residency)
    stub.answer("POST", "/v2/repository/index", index)
    stub.answer("GET", "/v2/models/double", metadata)
    stub.answer("POST", "/v2/models/double/infer", infer)
    monkeypatch.setenv("WARMROUTE_URL", stub.url)
    return stub
