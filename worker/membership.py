"""The membership of a worker in the cell: its registration, its lease and its epoch.

A worker that loses its lease is fenced: it registers again under a new epoch and announces the
copies that it still holds. The epoch guards everything that is not tied to one stream entry.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from shared import retry, statuses
from shared.errors import Conflict
from shared.scripts import WorkerScripts
from worker.report_changes import ReportChanges

log = logging.getLogger(__name__)

BEAT_EVERY_S = 1.0


class Membership:
    """Registration and heartbeat. `report()`: the fields of the worker's record; `held()`: bytes
    per model that takes requests. Both are called on the heartbeat thread too. `on_epoch` is called
    with the epoch of each registration. `look_again(refs)`, on the heartbeat thread: what the cell
    says of these copies has changed (None: maybe of all)."""

    def __init__(
        self, scripts: WorkerScripts, worker: str, lease_s: float, max_attempts: int,
        report: Callable[[], dict[str, Any]], held: Callable[[], dict[str, int]],
        on_epoch: Callable[[str], object] = lambda epoch: None,
        look_again: Callable[[Sequence[str] | None], object] = lambda refs: None,
    ) -> None:  # fmt: skip
        self._scripts = scripts
        self.worker = worker
        self.epoch = ""
        self.incarnation = secrets.token_hex(8)  # unlike that of other processes under its id
        self.parent = ""  # of its parent: a new one may load what the last one could not
        self.state = "starting"
        self._lease_ms = round(lease_s * 1000)
        self._max_attempts = max_attempts
        self._report = report
        self._held = held
        self._on_epoch = on_epoch
        self._look_again = look_again
        self._announced: set[str] = set()  # in this epoch: the map may name this worker for them
        self._joining = asyncio.Lock()
        self._changes = ReportChanges()

    async def register(self) -> None:
        """Register under a new epoch and announce the copies held."""
        await self._take_epoch()
        await self.announce_held()

    async def _take_epoch(self) -> None:
        fields = {"incarnation": self.incarnation, "parent": self.parent, **self._fields()}
        self.epoch = await self._scripts.register(
            self.worker, self._lease_ms, self._max_attempts, fields
        )
        self._announced.clear()
        self._on_epoch(self.epoch)
        log.info("worker %s registered, epoch %s", self.worker, self.epoch)

    async def announce_held(self) -> None:
        """Make the map name this worker for every copy that can serve, and for nothing else."""
        for ref in list(self._held()):
            await retry.until_answered(partial(self._announce_if_held, ref))
        # An announcement whose answer was lost may have come after the copy was retired.
        for ref in self._announced - set(self._held()):
            await retry.until_answered(partial(self._retire_unless_held, ref))
            self._announced.discard(ref)

    async def _announce_if_held(self, ref: str) -> None:
        if ref in self._held():  # else it was evicted while another was announced
            await self.announce(ref, "")

    async def _retire_unless_held(self, ref: str) -> None:
        if ref not in self._held():
            # No copy drains because of this, so nothing would ever say that it is freed.
            await self._scripts.retire(self.worker, self.epoch, ref, mode="gone")

    async def announce(
        self, ref: str, token: str, learned: Mapping[str, object] | None = None
    ) -> None:
        """Become a holder of `ref` and take its parked requests; Conflict if this worker was fenced
        or the load was given to another. `learned`: figures of its load, for `stats:<ref>`."""
        self._announced.add(ref)
        left, tier = 1, f"device {self._held().get(ref, 0)}"
        while left > 0:
            left = await self._scripts.announce(self.worker, self.epoch, ref, token, tier, learned)
        if left < 0:
            raise Conflict(
                statuses.FENCED if left == -2 else f"the load of {ref} was given to another"
            )

    async def retire(self, refs: list[str]) -> None:
        """Take no new requests for these models."""
        for ref in refs:
            await self._scripts.retire(self.worker, self.epoch, ref)

    async def renew(self, scripts: WorkerScripts) -> str:
        """Renew the lease, from any thread over its own `scripts`: ok | resync | fenced | taken."""
        epoch, held = self.epoch, len(self._held())
        fields = self._changes.due(epoch, self._fields())
        try:
            if not fields and await scripts.renew_lease(self.worker, epoch, self._lease_ms, held):
                return statuses.OK
            beaten = await scripts.heartbeat(
                self.worker, epoch, self.incarnation, self._lease_ms, held, fields
            )
        except BaseException:  # an answer that is lost may have named any copy
            self._changes.forget()
            self._look_again(None)
            raise
        if beaten.answer != statuses.OK:
            self._look_again(None)
        elif beaten.changed:
            self._look_again(beaten.changed)
        if beaten.answer in (statuses.OK, statuses.RESYNC):
            self._changes.written(epoch, fields)
        return beaten.answer

    def has_news(self) -> bool:
        """Whether the next heartbeat would write anything. On the heartbeat thread."""
        return bool(self._changes.due(self.epoch, self._fields()))

    async def handle_answer(self, answer: str, epoch: str) -> None:
        """Act on the answer to a heartbeat of `epoch`: register again when the lease was lost,
        announce again when the map was."""
        async with self._joining:
            if epoch != self.epoch:
                return  # it crossed a registration
            if answer == statuses.FENCED:
                log.warning(
                    "worker %s lost its lease or Redis its state: registering again", self.worker
                )
                await retry.until_answered(self._take_epoch)
            if answer in (statuses.FENCED, statuses.RESYNC):
                await self.announce_held()

    async def leave(self) -> None:
        """Hand back requests that were not started, and delete the registration."""
        await self._scripts.leave(self.worker, self.epoch, self._max_attempts)

    def _fields(self) -> dict[str, Any]:
        return {"state": self.state, **self._report()}
