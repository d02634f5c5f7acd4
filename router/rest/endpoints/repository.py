"""POST /v2/repository/models/{model}[/versions/{version}]/load and /unload, on the whole fleet.

Triton's model repository extension, with documents in place of its empty answers. Its parameters
`config` and `file:...` are refused: a version never changes, so publish another one instead.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from aiohttp import web

from router.catalog.catalog import Entry
from router.rest.arguments import parse_prefer, read_timeout
from router.rest.bodies import json_response, read_object, refuse_others
from router.rest.context import GatewayContext, named_model, resolve_model
from router.v2.json_form import timeout_of
from shared import statuses
from shared.errors import InvalidInput, UnsupportedInput, WarmrouteError
from shared.names import ModelRef, check_model_name, parse_version


async def load(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """200 once a worker holds the model; with `Prefer: respond-async` 202 with Location."""
    with context.control.admitted():
        parameters = await _parameters(request, ())
        timeout_s = read_timeout(request, timeout_of(parameters), context.config)
        # Without a version the newest, loaded or not: its caller checks whether it can be loaded.
        entry = await context.catalog.read(*named_model(request))
        if parse_prefer(request.headers.getall("Prefer", []))[0]:
            return _accepted(entry, await context.control.order(entry))
        workers = await context.control.load(entry, timeout_s)
        context.catalog.invalidate(entry.ref.name)
        return json_response({**_named(entry.ref), "state": "READY", "workers": workers})


async def unload(request: web.Request, context: GatewayContext) -> web.StreamResponse:
    """200 once the present copies are evicted; without a version those of all. 409 if pinned."""
    with context.control.admitted():
        parameters = await _parameters(request, ("unload_dependents",))
        if not isinstance(parameters.get("unload_dependents", False), bool):
            raise InvalidInput("parameters.unload_dependents: want true or false")
        timeout_s = read_timeout(request, timeout_of(parameters), context.config)
        refs, entry = await _targets(request, context)
        freed = await context.control.unload(refs, timeout_s)
        if entry is not None:
            await context.policies.stop_preload(entry)
        rows = [
            {**_named(ModelRef.parse(ref)), "state": "UNAVAILABLE", "freed": workers}
            for ref, workers in freed.items()
        ]
        return json_response({"name": request.match_info["model"], "versions": rows})


async def _targets(request: web.Request, context: GatewayContext) -> tuple[list[str], Entry | None]:
    """The references to unload, and the entry of the repository. A model that is held can be
    unloaded although it was deleted from the repository, or the repository is away."""
    name = check_model_name(request.match_info["model"])
    version = request.match_info.get("version")
    held = await context.states.held(name, None if version is None else parse_version(version))
    if not held:
        entry = await resolve_model(request, context)
        return [str(entry.ref)], entry
    with suppress(WarmrouteError):
        entry = await resolve_model(request, context)
        return sorted({*held, str(entry.ref)}), entry
    return held, None


def _accepted(entry: Entry, status: str) -> web.Response:
    where = f"/v2/models/{entry.ref.name}/versions/{entry.ref.version}/residency"
    state = "READY" if status == statuses.HELD else "LOADING"
    headers = {
        "Location": where, "Retry-After": "1", "Preference-Applied": "respond-async",
        "Vary": "Prefer",
    }  # fmt: skip
    return json_response({**_named(entry.ref), "state": state, "residency": where}, 202, headers)


async def _parameters(request: web.Request, allowed: tuple[str, ...]) -> dict[str, Any]:
    """`parameters` of the body. UnsupportedInput for those of Triton that would change the model,
    InvalidInput for unknown ones."""
    given = (await read_object(request, ("parameters",))).get("parameters")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InvalidInput("parameters: want an object")
    for name in given:
        if name == "config" or name.startswith("file:"):
            raise UnsupportedInput(
                f"parameters.{name[:80]}: not offered by this server, publish another version"
            )
    refuse_others(given, (*allowed, "timeout"), "parameters.")
    return given


def _named(ref: ModelRef) -> dict[str, str]:
    return {"name": ref.name, "version": str(ref.version)}
