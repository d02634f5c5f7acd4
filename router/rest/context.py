"""What every HTTP endpoint needs: the parts it calls, and the shell that answers errors."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from router.catalog.catalog import LATEST, PATIENCE_S, Catalog, Entry
from router.events.followers import Followers
from router.events.pages import EventPages
from router.fleet.copy_states import CopyStates
from router.fleet.health import Health
from router.fleet.model_control import Copies
from router.fleet.policies import Policies
from router.fleet.reader import ResidencyReader
from router.fleet.sessions import Sessions
from router.fleet.version_states import VersionStates
from router.requests.admission import Admission
from router.requests.dead_letters import DeadLetters
from router.requests.dispatch import Dispatch
from router.requests.failure_log import FailureLog
from router.requests.hand_over import Handover
from router.requests.open_requests import OpenRequests
from router.requests.recent_outcomes import RecentOutcomes
from router.requests.records import Records
from router.requests.shared_memory import GatewaySharedMemory
from router.rest.error_responses import problem
from shared.config import RouterConfig
from shared.errors import WarmrouteError
from shared.names import parse_version

log = logging.getLogger(__name__)

Handler = Callable[[web.Request, "GatewayContext"], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class GatewayContext:
    """The gateway's parts, built once in app.py."""

    config: RouterConfig
    admission: Admission
    catalog: Catalog
    versions: VersionStates
    dispatch: Dispatch
    bulk: GatewaySharedMemory
    records: Records
    open_requests: OpenRequests
    dead: DeadLetters
    residency: ResidencyReader
    states: CopyStates
    copies: Copies
    policies: Policies
    sessions: Sessions
    events: EventPages
    followers: Followers
    health: Health
    handover: Handover
    failures: FailureLog
    remembered: RecentOutcomes


CONTEXT = web.AppKey("doors", GatewayContext)


def plainly(request: web.Request, doors: GatewayContext, error: WarmrouteError) -> web.Response:
    """An error as it is."""
    return problem(error)


def door(
    handler: Handler,
    told: Callable[[web.Request, GatewayContext, WarmrouteError], web.Response] = plainly,
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """An aiohttp handler around one of ours: errors of ours become answers, others a plain 500."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request, request.app[CONTEXT])
        except WarmrouteError as error:
            return told(request, request.app[CONTEXT], error)
        except Exception:
            log.exception("%s %s", request.method, request.rel_url.path[:200])
            bug = WarmrouteError("internal error, see the gateway's log")
            return told(request, request.app[CONTEXT], bug)

    return handle


async def resolve_model(
    request: web.Request,
    doors: GatewayContext,
    patience_s: Callable[[], float] = lambda: PATIENCE_S,
) -> Entry:
    """The model that the path names: `{model}` and, maybe, `{version}`. Without one the newest that
    is live. `patience_s`: how long its caller would wait for a newer one."""
    name, version = named_model(request)
    return doors.catalog.fresh(name, version) or await doors.catalog.resolve(
        name, version, patience_s()
    )


def named_model(request: web.Request) -> tuple[str, int]:
    """Name and version that the path names; LATEST without one."""
    version = request.match_info.get("version")
    return request.match_info["model"], LATEST if version is None else parse_version(version)
