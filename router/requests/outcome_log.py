"""The outcomes of requests: one line in the log for each failure, and the newest outcomes by id.

The end of an accepted request is decided in Redis: `publish.lua` writes a failure into the stream
`failures` in that step, and any gateway writes its line. A failure that only one gateway knows (a
refusal, an answer that it could not give) it logs itself. An entry is deleted after its line is
written: a gateway that is killed between the two causes a second line, never none. The lines of one
model are limited in a second; the rest is counted.

A request that succeeded has no record in Redis, and making one would cost each a write. So the
outcomes of a second are sent together, without payloads, and the cell keeps the newest: they can be
read by id at any gateway. A gateway that is killed takes the last second with it.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Mapping
from typing import NamedTuple

from router.requests.call import Ticket
from shared import clock, statuses
from shared.causes import bounded, one_line, word
from shared.channel import Channel
from shared.connection import redis_errors
from shared.constants import DOOR_GROUP
from shared.envelope import pack_error, unpack_error
from shared.errors import Cancelled, Conflict, Expired, InvalidInput, NotFound, WarmrouteError
from shared.keys import Keys
from shared.names import ModelRef
from shared.script_runner import CHUNK
from shared.scripts import GatewayScripts

log = logging.getLogger(__name__)

LOG_EVERY_S = 0.25
SEND_EVERY_S = 1.0
MOST_A_SECOND = 1000  # outcomes that one gateway sends; of more the newest
ERROR_BYTES = 600  # kept of an error
READ_COUNT = 500
MOST_ROUNDS = 8  # of reading at once
LINES_OF_MODEL, LINES = 20, 200  # a second
MOST_COUNTED = 100  # models and codes; the rest is counted together
CALLERS_OWN = (InvalidInput, NotFound, Conflict, Cancelled)


class Failure(NamedTuple):
    """A request that failed, with the full cause, and the level of its line."""

    id: str
    model: str
    version: str
    worker: str
    code: str
    cause: str
    level: int = logging.WARNING

    def line(self, statuses: Mapping[str, int]) -> str:
        """The line in the log; `statuses`: the HTTP status of each error code."""
        return (
            f"request {word(self.id)} failed: model={word(self.model)} "
            f"version={word(self.version)} worker={word(self.worker)} code={word(self.code)} "
            f"status={statuses.get(self.code, 500):d} cause={one_line(bounded(self.cause))}"
        )


class FailureLog:
    """Writes failures into this gateway's log. `statuses`: the HTTP status of each error code."""

    def __init__(
        self, channel: Channel, keys: Keys, gateway: str, recent: RecentOutcomes,
        statuses: Mapping[str, int],
    ) -> None:  # fmt: skip
        self._channel = channel
        self._stream = keys.failures
        self._gateway = gateway
        self._recent = recent
        self._statuses = statuses
        self._position = "0"
        self._second = 0.0
        self._lines: Counter[str] = Counter()
        self._more: Counter[tuple[str, str]] = Counter()

    def note(self, request_id: str, error: WarmrouteError, model: str, version: str = "") -> None:
        """Log a failure that only this gateway knows; at level INFO if its caller caused it."""
        level = logging.INFO if isinstance(error, CALLERS_OWN) else logging.WARNING
        self._write(
            Failure(request_id, model, version, error.worker, error.code, error.message, level)
        )

    def refused(self, request_id: str, ref: ModelRef, error: WarmrouteError) -> None:
        """Log a refusal, and keep it so it can be read by its id."""
        self.note(request_id, error, ref.name, str(ref.version))
        self._recent.add(End(request_id, ref, error.worker, False, error))

    def ended(self, ticket: Ticket, error: WarmrouteError) -> None:
        """Log the error that ended an accepted request at this gateway, and not in Redis."""
        self.refused(ticket.id, ticket.ref, error)

    async def run_once(self) -> int:
        """Log new failures of the cell; the number of entries."""
        total = 0
        for _ in range(MOST_ROUNDS):
            new = self._position == ">"
            count = await self._read()
            total += count
            if new and count < READ_COUNT:
                break
        if clock.monotonic() - self._second >= 1:
            self.summarise()
        return total

    def summarise(self) -> None:
        """Log how many lines were not written; a new second begins."""
        for (model, code), number in sorted(self._more.items()):
            log.warning("%d more requests of model %s failed: code=%s", number, model, code)
        self._more.clear()
        self._lines.clear()
        self._second = clock.monotonic()

    async def _read(self) -> int:
        """Own entries first, after an error; then new ones."""
        position, self._position = self._position, "0"
        with redis_errors():
            streams = await self._channel.execute_command(
                "XREADGROUP", "GROUP", DOOR_GROUP, self._gateway, "COUNT", READ_COUNT, "STREAMS",
                self._stream, position,
            )  # fmt: skip
        entries = streams[0][1] if streams else []
        if entries:
            for _, flat in entries:
                if flat:  # else it was trimmed meanwhile
                    self._write(read(flat))
            await self._delete([entry for entry, _ in entries])
        self._position = ">" if position == ">" or not entries else "0"
        return len(entries)

    async def _delete(self, ids: list[bytes]) -> None:
        with redis_errors():
            await self._channel.execute_command("XDEL", self._stream, *ids)
            await self._channel.execute_command("XACK", self._stream, DOOR_GROUP, *ids)

    def _write(self, failure: Failure) -> None:
        if clock.monotonic() - self._second >= 1:
            self.summarise()
        model = word(failure.model)
        if self._lines[model] >= LINES_OF_MODEL or self._lines.total() >= LINES:
            counted = (model, failure.code) in self._more or len(self._more) < MOST_COUNTED
            self._more[(model, failure.code) if counted else ("others", "any")] += 1
            return
        self._lines[model] += 1
        log.log(failure.level, "%s", failure.line(self._statuses))


def read(flat: list[bytes]) -> Failure:
    """A failure as `publish.lua` writes it."""
    fields = [value.decode(errors="replace") for value in flat[1::2]]
    request_id, ref, worker, outcome, cause = (*fields, "", "", "", "", "")[:5]
    error = unpack_error(outcome.encode())
    name, _, rest = ref.partition(":")
    version = rest.partition(":")[0]
    code = outcome.partition(" ")[0]
    return Failure(request_id, name, version, worker, code, cause or error.message)


class End(NamedTuple):
    """The end of a request, without its payload; `error` of one that did not succeed."""

    id: str
    ref: ModelRef
    worker: str
    cold: bool
    error: WarmrouteError | None = None

    def text(self) -> bytes:
        """As `lua/lib/outcomes.lua` keeps it: status, worker, cold, ref, outcome."""
        status = statuses.EXPIRED if isinstance(self.error, Expired) else statuses.FAILED
        status = statuses.SUCCEEDED if self.error is None else status
        outcome = b"" if self.error is None else pack_error(self.error)[:ERROR_BYTES]
        return f"{status} {self.worker or '-'} {self.cold:d} {self.ref} ".encode() + outcome


class RecentOutcomes:
    """The ends of this gateway's requests until they are sent to Redis. `add` is an append."""

    def __init__(self, scripts: GatewayScripts, most: int) -> None:
        self._scripts = scripts
        self._most = most
        self._ends: deque[End] = deque(maxlen=min(most, MOST_A_SECOND))
        self.add = self._ends.append

    async def run_once(self) -> int:
        """Send them, best effort; the number of requests."""
        ends = [self._ends.popleft() for _ in range(len(self._ends))]
        for at in range(0, len(ends), CHUNK):
            flat: list[str | bytes] = []
            for end in ends[at : at + CHUNK]:
                flat += (end.id, end.text())
            await self._scripts.record_outcomes(self._most, flat)
        return len(ends)
