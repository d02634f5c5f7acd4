"""What every HTTP endpoint needs: the parts it calls, and the shell that answers errors."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from router.admission import Admission
from router.catalog.catalog import LATEST, PATIENCE_S, Catalog, Entry
from router.dead import DeadLetters
from router.dispatch import Dispatch
from router.events.followers import Followers
from router.events.pages import EventPages
from router.failures import FailureLog
from router.gateway_bulk import GatewayBulk
from router.handover import Handover
from router.health import Health
from router.open_requests import OpenRequests
from router.problems import problem
from router.records import Records
from router.remembered import Remembered
from router.residency.copies import Copies
from router.residency.copy_states import CopyStates
from router.residency.policies import Policies
from router.residency.report import Residency
from router.residency.sessions import Sessions
from router.residency.version_states import VersionStates
from shared.config import RouterConfig
from shared.errors import WarmrouteError
from shared.names import parse_version

log = logging.getLogger(__name__)

Handler = Callable[[web.Request, "Doors"], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class Doors:
    """The gateway's parts, built once in app.py."""

    config: RouterConfig
    admission: Admission
    catalog: Catalog
    versions: VersionStates
    dispatch: Dispatch
    bulk: GatewayBulk
    records: Records
    open_requests: OpenRequests
    dead: DeadLetters
    residency: Residency
    states: CopyStates
    copies: Copies
    policies: Policies
    sessions: Sessions
    events: EventPages
    followers: Followers
    health: Health
    handover: Handover
    failures: FailureLog
    remembered: Remembered


DOORS = web.AppKey("doors", Doors)


def plainly(request: web.Request, doors: Doors, error: WarmrouteError) -> web.Response:
    """An error as it is."""
    return problem(error)


def door(
    handler: Handler, told: Callable[[web.Request, Doors, WarmrouteError], web.Response] = plainly
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """An aiohttp handler around one of ours: errors of ours become answers, others a plain 500."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request, request.app[DOORS])
        except WarmrouteError as error:
            return told(request, request.app[DOORS], error)
        except Exception:
            log.exception("%s %s", request.method, request.rel_url.path[:200])
            bug = WarmrouteError("internal error, see the gateway's log")
            return told(request, request.app[DOORS], bug)

    return handle


async def resolve_model(
    request: web.Request, doors: Doors, patience_s: Callable[[], float] = lambda: PATIENCE_S
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
