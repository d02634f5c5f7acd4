"""Requests by id: the status document, the long poll and the cancel."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import Any

from router.fleet.load_status import LoadStatus
from router.requests.waiters import Reply, Waiters
from shared import statuses
from shared.envelope import Outcome, unpack_error, unpack_outcome
from shared.errors import Conflict, Gone, NotFound
from shared.names import ModelRef
from shared.scripts import Cancel, GatewayScripts

REQUEST_ID = re.compile(r"[0-9a-f]{32}")
# Of a request that has no record.
NOT_KEPT = "its caller got the outcome, which is not kept"
# For callers a request that is parked or placed is queued.
SHOWN = {statuses.PARKED: statuses.QUEUED, statuses.PLACED: statuses.QUEUED}
MAX_WAIT_S = 60.0


@dataclass(frozen=True)
class Record:
    """A request that can be polled."""

    id: str
    status: str
    ref: ModelRef
    worker: str
    cold: bool
    outcome: bytes
    waits: str = ""  # why, of one that is parked

    @property
    def terminal(self) -> bool:
        return self.status in statuses.TERMINAL

    @property
    def shown(self) -> str:
        """The status as callers see it."""
        return SHOWN.get(self.status, self.status)

    def reply(self) -> Reply:
        """The outcome as a waiting caller gets it."""
        return Reply(self.status, self.worker, self.cold, self.outcome)

    def succeeded(self) -> Outcome | None:
        """The outcome, if it succeeded and is kept."""
        kept = self.status == statuses.SUCCEEDED and self.outcome
        return unpack_outcome(self.outcome) if kept else None

    def document(self) -> dict[str, Any]:
        """The status document, without the response."""
        shown: dict[str, Any] = {
            "id": self.id,
            "status": self.shown,
            "model": self.ref.name,
            "version": str(self.ref.version),
        }
        if self.worker:
            shown["worker"] = self.worker
        if self.status == statuses.PARKED:
            shown["reason"] = "waits for its model to be loaded"
        if self.waits:
            shown["waits"] = self.waits
        if self.status == statuses.SUCCEEDED and not self.outcome:
            shown["reason"] = NOT_KEPT
        if self.terminal and self.status != statuses.SUCCEEDED:
            error = unpack_error(self.outcome)
            shown |= {"error": error.message, "code": error.code}
        return shown


class Records:
    """Reads and cancels requests by id."""

    def __init__(
        self, scripts: GatewayScripts, waiters: Waiters, gateway: str, loads: LoadStatus
    ) -> None:
        self._scripts = scripts
        self._waiters = waiters
        self._gateway = gateway
        self._loads = loads

    async def get(self, request_id: str, wait_s: float = 0.0) -> Record:
        """The record now, or as soon as it is terminal within `wait_s`. Gone, NotFound."""
        request_id = _check_id(request_id)
        if wait_s <= 0:
            return await self._read_with_reason(request_id)
        future = self._waiters.register(request_id, poll=True)
        try:
            record = await self._read(request_id, self._gateway)
            if record.terminal:
                return record
            async with asyncio.timeout(min(wait_s, MAX_WAIT_S)):
                await future
        except TimeoutError:
            pass
        finally:
            self._waiters.forget(request_id, future)
        return await self._read_with_reason(request_id)

    async def cancel(self, request_id: str) -> None:
        """Cancel a request. Conflict if it has ended already; Gone, NotFound."""
        request_id = _check_id(request_id)
        (answer,) = await self._scripts.cancel([Cancel(request_id)])
        if answer in (statuses.UNKNOWN, statuses.GONE):
            raise _unknown(request_id, answer == statuses.GONE)
        if answer != statuses.CANCELLED:
            raise Conflict(f"request {request_id}: it has {answer} already")

    async def _read_with_reason(self, request_id: str) -> Record:
        record = await self._read(request_id, "")
        if record.status != statuses.PARKED:
            return record
        return replace(record, waits=await self._loads.waits(str(record.ref)))

    async def _read(self, request_id: str, gateway: str) -> Record:
        return read_record(request_id, await self._scripts.subscribe(request_id, gateway))


def read_record(request_id: str, fields: dict[str, bytes]) -> Record:
    """A record as the script returns it. Gone or NotFound without one."""
    if statuses.ENDED in fields:
        return _ended(request_id, fields[statuses.ENDED])
    if "model" not in fields:
        raise _unknown(request_id, statuses.GONE in fields)
    status = fields["status"].decode()
    return Record(
        id=request_id,
        status=status,
        ref=ModelRef.parse(fields["model"].decode()),
        # One that is queued again was on that worker before it died.
        worker="" if status in SHOWN else fields.get("worker", b"").decode(),
        cold=fields.get("cold") == b"1",
        outcome=fields.get("outcome", b""),
    )


def _ended(request_id: str, text: bytes) -> Record:
    """A request without a record, as `lua/lib/outcomes.lua` keeps it."""
    status, worker, cold, ref, outcome = text.split(b" ", 4)
    return Record(
        id=request_id,
        status=status.decode(),
        ref=ModelRef.parse(ref.decode()),
        worker="" if worker == b"-" else worker.decode(),
        cold=cold == b"1",
        outcome=outcome,
    )


def _unknown(request_id: str, gone: bool) -> NotFound:
    if gone:
        return Gone(f"request {request_id}: it has ended, and its outcome is no longer kept")
    return NotFound(f"request {request_id}: unknown, or its outcome is no longer kept")


def _check_id(request_id: str) -> str:
    found = request_id.lower()
    if not REQUEST_ID.fullmatch(found):
        raise NotFound("no such request: an id is 32 hex digits")
    return found
