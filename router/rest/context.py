"""The context of HTTP endpoints: the services they call, and the wrapper that renders errors."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from router.catalog.catalog import LATEST, PATIENCE_S, Catalog, Entry
from router.events.followers import Followers
from router.events.pages import EventPages
from router.fleet.copy_states import CopyStates
from router.fleet.fleet_health import FleetHealth
from router.fleet.fleet_pages import FleetPages
from router.fleet.model_control import ModelControl
from router.fleet.policies import Policies
from router.fleet.reader import ResidencyReader
from router.fleet.sessions import Sessions
from router.fleet.version_states import VersionStates
from router.requests.dead_letters import DeadLetters
from router.requests.hand_over import FleetHandover, Handover
from router.requests.intake import Admission, Intake
from router.requests.key_lookup import KeyLookup
from router.requests.open_requests import OpenRequests
from router.requests.records import Records
from router.rest.bodies import expected_bytes
from router.rest.error_responses import problem
from router.rest.origins import SAFE, check_media_type, check_origin
from router.v2.json_processes import JsonProcesses
from shared.config import RouterConfig
from shared.errors import Unavailable, WarmrouteError
from shared.names import parse_version

log = logging.getLogger(__name__)

SMALL_BODY = 1 << 17  # no call but that of a model has a larger one

Handler = Callable[[web.Request, "GatewayContext"], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class GatewayContext:
    """The services of one gateway in one cell, built in cell.py. `catalog`, `health`, `handover`,
    `processes` and `admission` are the same in all cells."""

    cell: str
    many: bool  # whether the gateway has other cells too
    config: RouterConfig
    intake: Intake
    catalog: Catalog
    versions: VersionStates
    records: Records
    open_requests: OpenRequests
    dead_letters: DeadLetters
    keyed: KeyLookup
    residency: ResidencyReader
    fleet: FleetPages
    states: CopyStates
    control: ModelControl
    policies: Policies
    sessions: Sessions
    events: EventPages
    followers: Followers
    health: FleetHealth
    handover: FleetHandover | Handover
    processes: JsonProcesses
    admission: Admission  # of all calls but those of models and of health checks

    def named(self, error: WarmrouteError) -> WarmrouteError:
        """An error of this cell; of several cells the one that is away is named."""
        if self.many and isinstance(error, Unavailable):
            error.message = f"cell {self.cell}: {error.message}"
        return error


CONTEXT = web.AppKey("context", GatewayContext)


def plain(request: web.Request, context: GatewayContext, error: WarmrouteError) -> web.Response:
    """The response for an error, without a request id."""
    return problem(error)


def first_cell(request: web.Request) -> GatewayContext:
    """For calls that are not of one cell, and for gateways of one."""
    return request.app[CONTEXT]


def handle_errors(
    handler: Handler,
    render: Callable[[web.Request, GatewayContext, WarmrouteError], web.Response] = plain,
    choose: Callable[[web.Request], GatewayContext] = first_cell,
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """An aiohttp handler around one of ours: errors of ours are rendered, others become 500.
    `choose`: the cell that it works in."""

    async def handle(request: web.Request) -> web.StreamResponse:
        context = choose(request)
        try:
            check_origin(request)
            return await handler(request, context)
        except WarmrouteError as error:
            return render(request, context, error if choose is first_cell else context.named(error))
        except Exception:
            log.exception("%s %r", request.method, request.rel_url.path[:200])
            bug = WarmrouteError("internal error, see the gateway's log")
            return render(request, context, bug)

    return handle


def admitted(handler: Handler) -> Handler:
    """A handler whose calls are counted before their bodies are read: Overloaded at the limit."""

    async def handle(request: web.Request, context: GatewayContext) -> web.StreamResponse:
        size = 0 if request.method in SAFE else expected_bytes(request, SMALL_BODY)
        context.admission.enter(size)
        try:
            return await handler(request, context)
        finally:
            context.admission.leave(size)

    return handle


def changes_the_cell(handler: Handler) -> Handler:
    """A handler that is `admitted`, and takes no body but JSON."""

    async def handle(request: web.Request, context: GatewayContext) -> web.StreamResponse:
        check_media_type(request)
        return await handler(request, context)

    return admitted(handle)


async def resolve_model(
    request: web.Request,
    context: GatewayContext,
    patience_s: Callable[[], float] = lambda: PATIENCE_S,
) -> Entry:
    """The model that the path names: `{model}` and, maybe, `{version}`. Without one the newest that
    is loaded. `patience_s`: how long its caller would wait for a newer one."""
    name, version = named_model(request)
    return context.catalog.fresh(name, version) or await context.catalog.resolve(
        name, version, patience_s()
    )


def named_model(request: web.Request) -> tuple[str, int]:
    """Name and version that the path names; LATEST without one."""
    version = request.match_info.get("version")
    return request.match_info["model"], LATEST if version is None else parse_version(version)
