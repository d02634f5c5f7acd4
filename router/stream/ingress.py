"""The stream door: `XADD {cell}:ingress * model M body {...}` becomes a request like any other.

`place` deletes an entry in the same step that accepts its request, so it is never both or neither.
An invalid entry is answered and kept as a dead letter. When queues are full the entry waits in the
stream, until its deadline; so does one whose model is being read from the repository. Waiting
entries are tried in turn, so a full or a slow model does not block the others (until
`pending_entries.MAX_WAITING` of them wait here: then nothing new is read).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any

from router.requests.call import MAX_KEY, Call, check_key
from router.requests.intake import Intake
from router.stream.pending_entries import PendingEntries
from router.v2 import request as v2_request
from shared import failpoints, statuses
from shared.channel import Channel
from shared.connection import BLOCK_MS, redis_errors
from shared.constants import DOOR_GROUP
from shared.errors import (
    Expired,
    InvalidInput,
    Quarantined,
    TooLarge,
    UnsupportedInput,
    WarmrouteError,
)
from shared.keys import Keys
from shared.manifest import Manifest
from shared.redis_decode import pairs, text_of
from shared.scripts import GatewayScripts, Replied
from shared.slots import slot_of

log = logging.getLogger(__name__)

READ_COUNT = 32
ANSWER_LIFE_MS = 3_600_000
NAMED = (b"model", b"version")
FIELDS = {"model", "version", "body", "reply_to", "id", "timeout"}
BINARY_DEFAULT = "parameters.binary_data_output"
ASK_BY_HTTP = "the stream door answers in JSON: ask for binary over HTTP, or name other outputs"
REPLY_TO = re.compile(r"[\x21-\x7e]{1,256}")

Row = tuple[bytes, list[bytes] | None]


class Ingress:
    """Reads the ingress stream as one consumer of the gateways' group."""

    def __init__(
        self, channel: Channel, keys: Keys, scripts: GatewayScripts, intake: Intake, gateway: str,
        max_body_bytes: int, in_cluster: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self._channel = channel
        self._keys = keys
        self._scripts = scripts
        self._intake = intake
        self._gateway = gateway
        self._max_body_bytes = max_body_bytes
        self._in_cluster = in_cluster
        self._pending = PendingEntries(READ_COUNT)

    async def run_once(self) -> int:
        """Try a page of waiting entries, and new ones; the number of entries."""
        pending, self._pending = self._pending, PendingEntries(READ_COUNT)  # stays so if this fails
        position = pending.position()
        old = [] if position is None else await self._read(position)
        new = await self._read_new(pending, wait=not old)
        rows = old + new
        done = await asyncio.gather(
            *(self._take(entry.decode(), flat, pending) for entry, flat in rows),
            return_exceptions=True,
        )
        for result in done:
            if isinstance(result, BaseException):
                raise result
        pending.tried(position, [row[0].decode() for row in old], [r is True for r in done])
        pending.came([row[0].decode() for row in new], [r is True for r in done[len(old) :]])
        self._pending = pending
        return len(rows)

    async def _read_new(self, pending: PendingEntries, wait: bool) -> list[Row]:
        pause_s = pending.pause_s()
        if pending.full():
            await asyncio.sleep(pause_s if wait else 0)
            return []
        block_ms = max(1, round(1000 * pause_s)) if pending else BLOCK_MS
        return await self._read(">", block_ms if wait else 0)

    async def _read(self, position: str, block_ms: int = 0) -> list[Row]:
        block = ("BLOCK", block_ms) if block_ms else ()
        with redis_errors():
            streams = await self._channel.execute_command(
                "XREADGROUP", "GROUP", DOOR_GROUP, self._gateway, "COUNT", READ_COUNT, *block,
                "STREAMS", self._keys.ingress, position,
            )  # fmt: skip
        return list(streams[0][1]) if streams else []

    async def _take(self, entry: str, flat: list[bytes] | None, pending: PendingEntries) -> bool:
        """Whether the entry is done; one that is not stays pending and is tried again."""
        await failpoints.reach("ingress.read")
        if flat is None:
            await self._acknowledge(entry)
            return True
        fields = pairs(flat)
        call = Call()
        try:
            if 2 * len(fields) != len(flat):
                raise InvalidInput("fields: one is given twice")
            call = self._read_call(entry, fields, pending.waited_s(entry))
            await self._intake.accept(call)
        except (Expired, Quarantined) as error:
            await self._refuse(entry, fields, error)
        except WarmrouteError as error:
            if error.retryable and call.waited_s < await self._intake.peek_timeout_s(call):
                return False
            late = Expired(f"its deadline passed: {error.message}")
            await self._refuse(entry, fields, late if error.retryable else error)
        except Exception:
            # Whatever it is, it must not be tried again for ever and block the entries behind it.
            log.exception("stream entry %s", entry)
            await self._refuse(entry, fields, WarmrouteError("internal error, see the log"))
        return True

    async def _acknowledge(self, entry: str) -> None:
        """Its producer deleted or trimmed it before a gateway accepted it."""
        log.warning("stream entry %s is gone: its producer deleted or trimmed it", entry)
        with redis_errors():
            await self._channel.execute_command("XACK", self._keys.ingress, DOOR_GROUP, entry)

    def _read_call(self, entry: str, fields: dict[bytes, bytes], waited_s: float) -> Call:
        """The call that an entry describes. InvalidInput or TooLarge names the field."""
        given = {name.decode(errors="replace"): value for name, value in fields.items()}
        self._check_fields(given)
        key = check_key(text_of(given["id"]), "id") if "id" in given else ""
        return Call(
            model=text_of(given["model"]),
            version=text_of(given.get("version")),
            body=given["body"],
            check_form=_check_form,
            timeout_s=_timeout_s(given.get("timeout")),
            key=key,
            caller_id=key,
            mode="stream",
            reply_to=check_reply_to(given.get("reply_to", b""), self._keys, self._in_cluster()),
            entry=entry,
            waited_s=waited_s,
        )

    def _check_fields(self, given: dict[str, bytes]) -> None:
        unknown = sorted(set(given) - FIELDS)
        if unknown:
            raise InvalidInput(f"field {unknown[0][:40]!r}: unknown, want {sorted(FIELDS)}")
        for name in ("model", "body"):
            if name not in given:
                raise InvalidInput(f"field {name!r}: missing")
        if len(given["body"]) > self._max_body_bytes:
            raise TooLarge(f"body: {len(given['body'])} bytes, at most {self._max_body_bytes}")

    async def _refuse(self, entry: str, fields: dict[bytes, bytes], error: WarmrouteError) -> None:
        try:
            reply_to = check_reply_to(fields.get(b"reply_to", b""), self._keys, self._in_cluster())
        except InvalidInput:
            reply_to = ""
        answer: list[Any] = [
            "id", fields.get(b"id", b"")[:MAX_KEY],
            "status", statuses.EXPIRED if isinstance(error, Expired) else statuses.FAILED,
            "code", error.code, "error", error.message, "entry", entry,
        ]  # fmt: skip
        # An answered entry that came too late is not a dead letter: a flood would push out others.
        dead = not (isinstance(error, Expired) and reply_to)
        replied = await self._scripts.publish_reply(
            "ingress", entry, reply_to, ANSWER_LIFE_MS, dead, answer
        )
        warn_if_refused(replied, reply_to)
        if replied.status != statuses.LATE:
            model, version = (text_of(fields.get(name, b"")[:MAX_KEY]) for name in NAMED)
            self._intake.refused(error, model, version, entry)


def _check_form(parsed: v2_request.InferRequest, manifest: Manifest) -> None:
    """InvalidInput or UnsupportedInput if the outcome cannot be the JSON that this door writes."""
    asked = [name for name, binary in parsed.binary.items() if binary]
    if asked or parsed.binary_default:
        field = f"outputs[{asked[0]!r}].parameters.binary_data" if asked else BINARY_DEFAULT
        raise UnsupportedInput(f"{field}: not offered here, {ASK_BY_HTTP}")
    v2_request.check_json_form(parsed, manifest, ASK_BY_HTTP)


def check_reply_to(raw: bytes, keys: Keys, in_cluster: bool = False) -> str:
    """The stream for the answer: a key of the caller's, or one under `{cell}:answers:`; '' none.
    Keys with a hash tag belong to this cell, to another one or to another application. In a Redis
    Cluster a script writes only to the slot of its cell."""
    name = raw.decode(errors="replace")
    if not name:
        return ""
    if name.startswith("{") and not name.startswith(keys.answers):
        raise InvalidInput(
            f"reply_to: keys that begin with {{ belong to cells and other applications; of these "
            f"only {keys.answers}... takes answers"
        )
    if not REPLY_TO.fullmatch(name):
        raise InvalidInput("reply_to: want 1 to 256 printable ASCII characters")
    if in_cluster and slot_of(name) != slot_of(keys.prefix):
        raise InvalidInput(
            f"reply_to: in a Redis Cluster only streams in the slot of {keys.prefix} take answers: "
            f"want a name with this hash tag, as {keys.answers}..."
        )
    return name


def warn_if_refused(replied: Replied, reply_to: str) -> None:
    """Log that an answer could not be written: its producer waits for it."""
    if replied.status == statuses.REFUSED:
        log.warning(
            "reply_to %r was refused: %r; the answer is a dead letter", reply_to, replied.why
        )


def _timeout_s(raw: bytes | None) -> float | None:
    if raw is None:
        return None
    if not raw.isdigit() or len(raw) > 15 or int(raw) == 0:
        raise InvalidInput("timeout: want a positive number of microseconds")
    return int(raw) / 1e6
