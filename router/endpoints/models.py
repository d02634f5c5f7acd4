"""Metadata, readiness and listing of models and of the server (Open Inference Protocol)."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from router.bodies import read_body
from router.doors import Doors, resolve_model
from shared import datatypes
from shared.errors import InvalidInput
from shared.manifest import TensorSpec
from shared.names import ModelRef

# Triton's names of what is offered: exactly that.
EXTENSIONS = [
    "binary_tensor_data", "model_configuration", "model_repository",
    "model_repository(unload_dependents)", "parameters", "schedule_policy",
]  # fmt: skip


def _json(document: Any, status: int = 200) -> web.Response:
    raw = msgspec.json.encode(document)
    return web.Response(status=status, body=raw, content_type="application/json")


async def server(request: web.Request, doors: Doors) -> web.StreamResponse:
    """GET /v2."""
    return _json({"name": "warmroute", "version": "0.1.0", "extensions": EXTENSIONS})


async def live(request: web.Request, doors: Doors) -> web.StreamResponse:
    """GET /v2/health/live: this process answers."""
    return _json({"live": True})


async def ready(request: web.Request, doors: Doors) -> web.StreamResponse:
    """GET /v2/health/ready: Redis answers, the loops run and it is not stopping; else 503."""
    reasons = await doors.health.reasons()
    body: dict[str, Any] = {"live": True, "ready": not reasons}
    if reasons:
        body["error"] = "; ".join(reasons)
    return _json(body, 503 if reasons else 200)


async def metadata(request: web.Request, doors: Doors) -> web.StreamResponse:
    """GET /v2/models/{model}[/versions/{version}]."""
    manifest = (await resolve_model(request, doors)).manifest
    versions = await doors.catalog.versions(manifest.name)
    return _json(
        {
            "name": manifest.name,
            "versions": [str(version) for version in versions],
            "platform": manifest.platform,
            "inputs": manifest.inputs,
            "outputs": manifest.outputs,
        }
    )


async def config(request: web.Request, doors: Doors) -> web.StreamResponse:
    """GET .../config: what the manifest says, in the words of Triton's model configuration."""
    manifest = (await resolve_model(request, doors)).manifest
    batched = manifest.batching.max_size > 1
    return _json(
        {
            "name": manifest.name,
            "platform": manifest.platform,
            "backend": manifest.platform.partition("_")[0],
            "max_batch_size": manifest.batching.max_size if batched else 0,
            "input": [_in_triton(spec, batched) for spec in manifest.inputs],
            "output": [_in_triton(spec, batched) for spec in manifest.outputs],
        }
    )


def _in_triton(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    """Without the batch, which `max_batch_size` stands for."""
    datatype = "STRING" if spec.datatype == datatypes.BYTES else spec.datatype
    dims = spec.shape[1:] if batched else spec.shape
    return {"name": spec.name, "data_type": f"TYPE_{datatype}", "dims": dims}


async def model_ready(request: web.Request, doors: Doors) -> web.StreamResponse:
    """GET .../ready: 200, warm or cold, as a cold model is loaded on demand; 404 if unknown."""
    entry = await resolve_model(request, doors)
    warm = await doors.residency.ready_anywhere(entry.ref)
    return _json({"name": entry.ref.name, "ready": True, "warm": warm})


async def index(request: web.Request, doors: Doors) -> web.StreamResponse:
    """POST /v2/repository/index, GET /v2/models: all versions; READY if some worker holds it."""
    only_ready = _only_ready(await read_body(request, 1 << 16))
    held = await doors.residency.held()
    rows = []
    for name, versions in await doors.catalog.index():
        for version in versions:
            warm = (name, version) in held
            if warm or not only_ready:
                rows.append(_row(ModelRef(name, version, ""), warm))
    return _json(rows)


def _row(ref: ModelRef, warm: bool) -> dict[str, str]:
    state = "READY" if warm else "UNAVAILABLE"
    reason = "" if warm else "cold: loaded on demand"
    return {"name": ref.name, "version": str(ref.version), "state": state, "reason": reason}


def _only_ready(body: bytes) -> bool:
    if not body:
        return False
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidInput("body: not JSON") from None
    ready = document.get("ready", False) if isinstance(document, dict) else None
    if not isinstance(ready, bool):
        raise InvalidInput("ready: want true or false")
    return ready
