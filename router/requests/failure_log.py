"""One line in the log for every request that failed, and one place that writes them.

What ends a request that was accepted is decided in Redis, in whichever process: `publish.lua`
writes the failure into the stream `failures` in that step, and any gateway writes its line. What
only a gateway knows (a refusal, an answer that it could not give) it notes itself. An entry goes
when its line is written: a gateway that is killed between the two makes a second line, never none.

A flood fills no log: of one model a gateway writes so many lines a second, then a count.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import NamedTuple

from router.requests.recent_outcomes import End, RecentOutcomes
from router.requests.submission import Ticket
from router.rest.error_responses import STATUS
from shared import clock
from shared.causes import bounded, one_line, word
from shared.channel import Channel
from shared.connection import redis_errors
from shared.constants import DOOR_GROUP
from shared.envelope import unpack_error
from shared.errors import Cancelled, Conflict, InvalidInput, NotFound, WarmrouteError
from shared.keys import Keys
from shared.names import ModelRef

log = logging.getLogger(__name__)

EVERY_S = 0.25
READ_COUNT = 500
MOST_ROUNDS = 8  # of reading at once
LINES_OF_MODEL, LINES = 20, 200  # a second
MOST_COUNTED = 100  # models and codes; the rest is counted together
CALLERS_OWN = (InvalidInput, NotFound, Conflict, Cancelled)


class Failure(NamedTuple):
    """A request that failed. `cause`: in full; `level`: of its line."""

    id: str
    model: str
    version: str
    worker: str
    code: str
    cause: str
    level: int = logging.WARNING

    def line(self) -> str:
        """What stands in the log."""
        return (
            f"request {word(self.id)} failed: model={word(self.model)} "
            f"version={word(self.version)} worker={word(self.worker)} code={word(self.code)} "
            f"status={STATUS.get(self.code, 500):d} cause={one_line(bounded(self.cause))}"
        )


class FailureLog:
    """The failures of the cell, as far as this gateway writes them down."""

    def __init__(
        self, channel: Channel, keys: Keys, gateway: str, remembered: RecentOutcomes
    ) -> None:
        self._channel = channel
        self._stream = keys.failures
        self._gateway = gateway
        self._remembered = remembered
        self._position = "0"
        self._second = 0.0
        self._lines: Counter[str] = Counter()
        self._more: Counter[tuple[str, str]] = Counter()

    def note(self, request_id: str, error: WarmrouteError, model: str, version: str = "") -> None:
        """A failure that this gateway alone knows; one of the caller's own making is told too, but
        is nothing to look into."""
        level = logging.INFO if isinstance(error, CALLERS_OWN) else logging.WARNING
        self._write(
            Failure(request_id, model, version, error.worker, error.code, error.message, level)
        )

    def refused(self, request_id: str, ref: ModelRef, error: WarmrouteError) -> None:
        """As `note`; and who asks for its id is told too."""
        self.note(request_id, error, ref.name, str(ref.version))
        self._remembered.add(End(request_id, ref, error.worker, False, error))

    def ended(self, ticket: Ticket, error: WarmrouteError) -> None:
        """A caller is told of an end of its request that Redis does not know of."""
        self.refused(ticket.id, ticket.ref, error)

    async def run_once(self) -> int:
        """Write down what has failed; the number of entries."""
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
        """Say how many lines were not written; a new second begins."""
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
            await self._let_go([entry for entry, _ in entries])
        self._position = ">" if position == ">" or not entries else "0"
        return len(entries)

    async def _let_go(self, ids: list[bytes]) -> None:
        with redis_errors():
            await self._channel.execute_command("XDEL", self._stream, *ids)
            await self._channel.execute_command("XACK", self._stream, DOOR_GROUP, *ids)

    def _write(self, failure: Failure) -> None:
        if clock.monotonic() - self._second >= 1:
            self.summarise()
        model = word(failure.model)
        if self._lines[model] >= LINES_OF_MODEL or self._lines.total() >= LINES:
            known = (model, failure.code) in self._more or len(self._more) < MOST_COUNTED
            self._more[(model, failure.code) if known else ("others", "any")] += 1
            return
        self._lines[model] += 1
        log.log(failure.level, "%s", failure.line())


def read(flat: list[bytes]) -> Failure:
    """A failure as `publish.lua` writes it."""
    fields = [value.decode(errors="replace") for value in flat[1::2]]
    request_id, ref, worker, outcome, cause = (*fields, "", "", "", "", "")[:5]
    error = unpack_error(outcome.encode())
    name, _, rest = ref.partition(":")
    version = rest.partition(":")[0]
    code = outcome.partition(" ")[0]
    return Failure(request_id, name, version, worker, code, cause or error.message)
