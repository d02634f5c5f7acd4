"""Models and the server: metadata, readiness (Open Inference Protocol), policy, residency."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from router.rest.bodies import json_response, read_object
from router.rest.context import GatewayContext, resolve_model
from router.rest.error_responses import problem, retry_after
from shared import datatypes
from shared.errors import Unavailable
from shared.manifest import TensorSpec
from shared.policy import OVERRIDES

# The extensions that are offered, by Triton's names.
EXTENSIONS = [
    "binary_tensor_data", "model_configuration", "model_repository",
    "model_repository(unload_dependents)", "parameters", "schedule_policy",
]  # fmt: skip
MAX_PROGRAM = 64  # characters of a User-Agent that tell balancers apart


async def server(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET /v2."""
    return json_response({"name": "warmroute", "version": "0.1.0", "extensions": EXTENSIONS})


async def live(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET /v2/health/live: this process answers."""
    return json_response({"live": True})


async def ready(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET /v2/health/ready: 200 if Redis answers, the loops run, enough workers are live and the
    gateway is not stopping; else 503."""
    program = request.headers.get("User-Agent", "")[:MAX_PROGRAM]
    context.health.note_probe(request.remote or "", program)
    body = await context.health.document()
    if body["ready"]:
        return json_response(body)
    return problem(Unavailable(body["error"], retry_after_s=1), also=body)


async def metadata(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET /v2/models/{model}[/versions/{version}]."""
    manifest = (await resolve_model(request, context)).manifest
    versions = await context.catalog.versions(manifest.name)
    return json_response(
        {
            "name": manifest.name,
            "versions": [str(version) for version in versions],
            "platform": manifest.platform,
            "inputs": manifest.inputs,
            "outputs": manifest.outputs,
        }
    )


async def config(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET .../config: what the manifest says, in the form of Triton's model configuration."""
    manifest = (await resolve_model(request, context)).manifest
    batched = manifest.batching.max_size > 1
    return json_response(
        {
            "name": manifest.name,
            "platform": manifest.platform,
            "backend": manifest.platform.partition("_")[0],
            "max_batch_size": manifest.batching.max_size if batched else 0,
            "input": [
                {**_in_triton(spec, batched), "format": "FORMAT_NONE", "optional": spec.optional}
                for spec in manifest.inputs
            ],
            "output": [_in_triton(spec, batched) for spec in manifest.outputs],
        }
    )


def _in_triton(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    """One tensor, without the batch dimension, which `max_batch_size` replaces."""
    datatype = "STRING" if spec.datatype == datatypes.BYTES else spec.datatype
    dims = spec.shape[1:] if batched else spec.shape
    return {"name": spec.name, "data_type": f"TYPE_{datatype}", "dims": dims}


async def versions(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET /v2/models/{model}/versions: which are loaded, held, or cannot be loaded, and why."""
    return json_response(await context.versions.of(request.match_info["model"]))


async def model_ready(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET .../ready: 200, warm or cold, as a cold model is loaded on demand; 503 with the cause if
    requests for it are refused now; 404 if unknown."""
    entry = await resolve_model(request, context)
    warm, trouble, note = await context.residency.readiness(entry.ref)
    shown: dict[str, Any] = {
        "name": entry.ref.name,
        "version": str(entry.ref.version),
        "ready": trouble is None,
    }
    if trouble is None:
        return json_response({**shown, "warm": warm} | ({"note": note} if note else {}))
    response = json_response(
        {**shown, "warm": warm, "code": trouble.code, "error": trouble.message}, 503
    )
    response.headers["Warmroute-Error"] = trouble.code
    response.headers["Retry-After"] = str(retry_after(trouble.left_ms / 1000))
    return response


async def get_policy(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET .../policy: the policy in force, its fields that the API overrides, and those of the
    manifest."""
    return json_response(await context.policies.get(await resolve_model(request, context)))


async def put_policy(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """PUT .../policy {field: value or null}: set overrides, or remove them; the others stay."""
    document = await read_object(request, OVERRIDES)
    entry = await resolve_model(request, context)
    return json_response(await context.policies.set(entry, document))


async def residency(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """GET .../residency of a model: its copies, why its requests wait, and its policy."""
    entry = await resolve_model(request, context)
    return json_response(await context.residency.model(entry.ref, entry.manifest.residency))
