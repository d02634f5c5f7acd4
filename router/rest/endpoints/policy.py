"""GET and PUT /v2/models/{model}[/versions/{version}]/policy: how many copies there should be, and
which stay."""

from __future__ import annotations

from aiohttp import web

from router.rest.context import GatewayContext, resolve_model
from router.rest.json_body import answer, read_object
from shared.policy import OVERRIDES


async def get(request: web.Request, doors: GatewayContext) -> web.StreamResponse:
    """200: the policy in force, what of it the API overrides, and what the manifest says."""
    return answer(await doors.policies.get(await resolve_model(request, doors)))


async def put(request: web.Request, doors: GatewayContext) -> web.StreamResponse:
    """{field: value or null}: override fields, or take overrides back; the others stay."""
    document = await read_object(request, OVERRIDES)
    return answer(await doors.policies.set(await resolve_model(request, doors), document))
