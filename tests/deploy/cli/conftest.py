"""A gateway that knows one model, and a repository to push to, to run the command against."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from aiohttp import web

from tests.deploy.cli.pushing import MODULE

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub

WORKERS = [
    {
        "id": "w1",
        "device": "cpu",
        "state": "ready",
        "budget_bytes": 200 << 20,
        "used_bytes": 3 << 20,
        "host_budget_bytes": 50 << 20,
        "host_used_bytes": 1 << 20,
        "queue": 2,
        "busy": 0.25,
        "service_ms": 1.5,
        "max_models": 8,
        "models": [
            {"name": "double", "version": "1", "tier": "device", "bytes": 3 << 20, "since": ""}
        ],
    },
    {"id": "w2", "device": "cpu", "state": "draining", "models": []}
    | {"budget_bytes": 0, "used_bytes": 0, "queue": 0}
    | {"warm": [{"name": "double", "version": "1", "tier": "host", "bytes": 3 << 20}]},
]
LOADS = [
    {"name": "other", "version": "1", "phase": "loading", "worker": "w2", "seconds": 3.0}
    | {"waits": "loading on worker w2 for 3 s"}
]
ONE = {
    "name": "double", "version": "1", "parked": 4, "overrides": ["pin"], "sessions": ["s1"],
    "copies": [
        {"worker": "w1", "tier": "device", "bytes": 3 << 20, "own_bytes": 1 << 20,
         "shared_bytes": 2 << 20, "shared_with": 4, "since": "2026-01-02T03:04:05Z",
         "idle_s": 2.0, "hits": 7},
        {"worker": "w2", "tier": "disk"},
    ],
    "policy": {"min_copies": 1, "pin": True, "affinity": None}, "incompatible": ["H100"],
    "waits": "loading on worker w3 for 1 s: bert is pinned",
    "learned": {"bytes": {"cpu": 1 << 20}, "shared_bytes": {"cpu": 2 << 20},
                 "load_ms": {"disk": 31.3}},
    "unbatched": "output 'y' sorts", "unwarmed": "too small", "unsteady": None,
    "last_failure": {"code": "load_failed", "error": "no such operator", "retry_after_s": 5.0},
    "quarantine": {
        "open": True, "crashes": 5, "cause": "signal 11", "seconds_left": 9.0, "served_by": ["w3"],
        "workers": {"w1": 3, "w2": 2},
    },
    "failed_on": [
        {"worker": "w1", "code": "disk_full", "error": "no room", "times": 2, "retry_after_s": 9.0}
    ],
}  # fmt: skip


@pytest.fixture
def gateway(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """WARMROUTE_URL names it; its model `double` gives back twice its input."""

    async def residency(request: web.Request) -> web.Response:
        return web.json_response({"workers": WORKERS, "models": [], "loads": LOADS})

    async def one(request: web.Request) -> web.Response:
        return web.json_response(ONE)

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
    stub.answer("GET", "/v2/models/double/versions/1/residency", one)
    stub.answer("POST", "/v2/repository/index", index)
    stub.answer("GET", "/v2/models/double", metadata)
    stub.answer("POST", "/v2/models/double/infer", infer)
    monkeypatch.setenv("WARMROUTE_URL", stub.url)
    return stub


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """MODEL_REPOSITORY names an empty folder; the current one holds `nets.py`."""
    url = f"file://{tmp_path}/repository"
    (tmp_path / "repository").mkdir()
    (tmp_path / "nets.py").write_text(MODULE)
    monkeypatch.setenv("MODEL_REPOSITORY", url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    return url


@pytest.fixture
def pt2(tmp_path: Path) -> Path:
    """A two-layer network as an export archive, its example inputs included."""
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    batch = torch.export.Dim("batch", min=1)
    exported = torch.export.export(net, (torch.zeros(2, 4),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, tmp_path / "net.pt2")
    return tmp_path / "net.pt2"
