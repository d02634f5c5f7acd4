"""The stream door: `XADD {cell}:ingress * model M body {...}` becomes a request like any other.

An entry is taken over by `place` in the same step that accepts its request, so it is never both or
neither. One that cannot be a request is answered and kept as a dead letter. When queues are full
the entry waits in the stream, until its deadline; every one that waits gets its turn, so a full
model does not hold up the others (until `pending_entries.MAX_WAITING` of them wait here: then
nothing new is read).
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

from router.catalog.catalog import LATEST, Catalog
from router.requests.dispatch import Dispatch
from router.requests.failure_log import FailureLog
from router.requests.idempotency import MAX_KEY, check_key, fingerprint
from router.requests.submission import Submission
from router.stream.pending_entries import PendingEntries
from router.v2 import request as v2_request
from router.v2.peek import peek_timeout_us
from shared import failpoints
from shared.channel import Channel
from shared.connection import BLOCK_MS, redis_errors
from shared.constants import DOOR_GROUP
from shared.errors import (
    Expired,
    InvalidInput,
    Quarantined,
    TooLarge,
    Unavailable,
    UnsupportedInput,
    WarmrouteError,
)
from shared.keys import Keys
from shared.manifest import Manifest
from shared.names import parse_version
from shared.scripts import Scripts

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
        self, channel: Channel, keys: Keys, scripts: Scripts, dispatch: Dispatch, catalog: Catalog,
        gateway: str, timeout_s: float, max_body_bytes: int, failures: FailureLog,
    ) -> None:  # fmt: skip
        self._channel = channel
        self._keys = keys
        self._scripts = scripts
        self._dispatch = dispatch
        self._catalog = catalog
        self._gateway = gateway
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        self._failures = failures
        self._pending = PendingEntries(READ_COUNT)

    async def run_once(self) -> int:
        """Take in a page of what waits and what has come; the number of entries."""
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
        """Whether the entry is off our hands; one that is not stays pending and is tried again."""
        await failpoints.reach("ingress.read")
        if flat is None:
            await self._let_go(entry)
            return True
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        try:
            if 2 * len(fields) != len(flat):
                raise InvalidInput("fields: one is given twice")
            self._come_again_if_settling(fields, pending.waited_s(entry))
            await self._dispatch.submit(await self._submission(entry, fields))
        except (Expired, Quarantined) as error:
            await self._refuse(entry, fields, error)
        except WarmrouteError as error:
            if error.retryable and pending.waited_s(entry) < self._patience_s(fields):
                return False
            late = Expired(f"its deadline passed: {error.message}")
            await self._refuse(entry, fields, late if error.retryable else error)
        except Exception:
            # Whatever it is, it must not come again and again and hold up those behind it.
            log.exception("stream entry %s", entry)
            await self._refuse(entry, fields, WarmrouteError("internal error, see the log"))
        return True

    def _come_again_if_settling(self, fields: dict[bytes, bytes], waited_s: float) -> None:
        """Unavailable if a newer version may be found in a moment: others must not wait for that
        here. Half of its time is left to the request."""
        name, version = (fields.get(key, b"").decode(errors="replace") for key in NAMED)
        wanted = parse_version(version) if version else LATEST
        if self._catalog.settling(name, wanted, waited_s, self._patience_s(fields) / 2):
            raise Unavailable(f"the versions of {name[:80]!r} are being looked at")

    async def _let_go(self, entry: str) -> None:
        """Its producer deleted or trimmed it before anybody took it."""
        log.warning("stream entry %s is gone: deleted or trimmed by who wrote it", entry)
        with redis_errors():
            await self._channel.execute_command("XACK", self._keys.ingress, DOOR_GROUP, entry)

    async def _submission(self, entry: str, fields: dict[bytes, bytes]) -> Submission:
        given = {name.decode(errors="replace"): value for name, value in fields.items()}
        self._check_fields(given)
        key = check_key(given["id"].decode(errors="replace"), "id") if "id" in given else ""
        name = given["model"].decode(errors="replace")
        version = given.get("version", b"").decode(errors="replace")
        wanted = parse_version(version) if version else LATEST
        model = self._catalog.fresh(name, wanted) or await self._catalog.resolve(name, wanted, 0)
        parsed = v2_request.parse(given["body"], None, model.manifest)
        _check_form(parsed, model.manifest)
        parsed.envelope.id = key or parsed.envelope.id
        timeout_us = _timeout_us(given.get("timeout")) or parsed.timeout_us
        return Submission(
            ref=model.ref, envelope=parsed.envelope, wait=False, keep=True, ingress=entry,
            timeout_s=timeout_us / 1e6 if timeout_us else self._timeout_s,
            reply_to=check_reply_to(given.get("reply_to", b""), self._keys),
            key=key, fingerprint=fingerprint(name, version, parsed.envelope) if key else "",
        )  # fmt: skip

    def _check_fields(self, given: dict[str, bytes]) -> None:
        unknown = sorted(set(given) - FIELDS)
        if unknown:
            raise InvalidInput(f"field {unknown[0][:40]!r}: unknown, want {sorted(FIELDS)}")
        for name in ("model", "body"):
            if name not in given:
                raise InvalidInput(f"field {name!r}: missing")
        if len(given["body"]) > self._max_body_bytes:
            raise TooLarge(f"body: {len(given['body'])} bytes, at most {self._max_body_bytes}")

    def _patience_s(self, fields: dict[bytes, bytes]) -> float:
        """How long an entry may wait where nobody but this gateway can tell: not even placed."""
        try:
            timeout_us = _timeout_us(fields.get(b"timeout")) or peek_timeout_us(fields[b"body"])
        except (WarmrouteError, KeyError):
            timeout_us = 0
        return timeout_us / 1e6 if timeout_us else self._timeout_s

    async def _refuse(self, entry: str, fields: dict[bytes, bytes], error: WarmrouteError) -> None:
        try:
            reply_to = check_reply_to(fields.get(b"reply_to", b""), self._keys)
        except InvalidInput:
            reply_to = ""
        answer: list[Any] = [
            "id", fields.get(b"id", b"")[:MAX_KEY],
            "status", "expired" if isinstance(error, Expired) else "failed",
            "code", error.code, "error", error.message, "entry", entry,
        ]  # fmt: skip
        # What came too late and was told so is no letter: a flood would push out those that matter.
        dead = not (isinstance(error, Expired) and reply_to)
        if await self._scripts.publish_reply(
            "ingress", entry, reply_to, ANSWER_LIFE_MS, dead, answer
        ):
            name, version = (fields.get(n, b"")[:MAX_KEY] for n in (b"model", b"version"))
            self._failures.note(
                entry, error, name.decode(errors="replace"), version.decode(errors="replace")
            )


def _check_form(parsed: v2_request.InferRequest, manifest: Manifest) -> None:
    """InvalidInput or UnsupportedInput if the answer cannot be the JSON that this door writes."""
    asked = [name for name, binary in parsed.binary.items() if binary]
    if asked or parsed.binary_default:
        field = f"outputs[{asked[0]!r}].parameters.binary_data" if asked else BINARY_DEFAULT
        raise UnsupportedInput(f"{field}: not offered here, {ASK_BY_HTTP}")
    v2_request.check_json_form(parsed, manifest, ASK_BY_HTTP)


def check_reply_to(raw: bytes, keys: Keys) -> str:
    """The stream to answer on: a key of the caller's, or one under `{cell}:answers:`; '' none."""
    name = raw.decode(errors="replace")
    if not name:
        return ""
    internal = name.startswith(keys.prefix) and not name.startswith(keys.answers)
    if internal or not REPLY_TO.fullmatch(name):
        raise InvalidInput(
            f"reply_to: want 1 to 256 printable characters, not under {keys.prefix}: other than "
            f"{keys.answers}..."
        )
    return name


def _timeout_us(raw: bytes | None) -> int:
    if raw is None:
        return 0
    if not raw.isdigit() or len(raw) > 15 or int(raw) == 0:
        raise InvalidInput("timeout: want a positive number of microseconds")
    return int(raw)
