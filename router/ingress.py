"""The stream door: `XADD {cell}:ingress * model M body {...}` becomes a request like any other.

An entry is taken over by `place` in the same step that accepts its request, so it is never both or
neither. One that cannot be a request is answered and kept as a dead letter. When queues are full
the entry waits in the stream.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

from router.catalog import LATEST, Catalog
from router.dispatch import Dispatch, Submission
from router.v2 import request as v2_request
from shared.channel import Channel
from shared.connection import BLOCK_MS, redis_errors
from shared.errors import InvalidInput, TooLarge, WarmrouteError
from shared.keys import DOOR_GROUP, Keys
from shared.names import parse_version
from shared.scripts import Scripts

log = logging.getLogger(__name__)

READ_COUNT = 32
RETRY_S = 0.2
ANSWER_LIFE_MS = 3_600_000
FIELDS = {"model", "version", "body", "reply_to", "id", "timeout"}
REPLY_TO = re.compile(r"[\x21-\x7e]{1,256}")


class Ingress:
    """Reads the ingress stream as one consumer of the gateways' group."""

    def __init__(
        self, channel: Channel, keys: Keys, scripts: Scripts, dispatch: Dispatch, catalog: Catalog,
        gateway: str, timeout_s: float, max_body_bytes: int,
    ) -> None:  # fmt: skip
        self._channel = channel
        self._keys = keys
        self._scripts = scripts
        self._dispatch = dispatch
        self._catalog = catalog
        self._gateway = gateway
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        self._retry = True  # entries of ours are pending: from before an error, or not placed yet

    async def run_once(self) -> int:
        """Take in what has come; the number of entries. What cannot be placed now stays pending and
        is tried again each round, beside what is new."""
        retry, self._retry = self._retry, True
        entries = await self._read("0") if retry else []
        entries += await self._read(">", wait=not entries)
        taken = await asyncio.gather(*(self._take(entry.decode(), flat) for entry, flat in entries))
        waiting = taken.count(False)
        if waiting:  # no fault of this gateway's: a full model must not make it unready
            log.info("%d stream entries wait until they can be placed", waiting)
            await asyncio.sleep(RETRY_S)
        self._retry = waiting > 0 or (len(entries) >= READ_COUNT and retry)
        return len(entries)

    async def _read(self, position: str, wait: bool = False) -> list[Any]:
        block = ("BLOCK", BLOCK_MS) if wait else ()
        with redis_errors():
            streams = await self._channel.execute_command(
                "XREADGROUP", "GROUP", DOOR_GROUP, self._gateway, "COUNT", READ_COUNT, *block,
                "STREAMS", self._keys.ingress, position,
            )  # fmt: skip
        return list(streams[0][1]) if streams else []

    async def _take(self, entry: str, flat: list[bytes] | None) -> bool:
        """Whether the entry is off our hands; one that is not stays pending and is tried again."""
        fields = (
            {bytes(k): bytes(v) for k, v in zip(flat[::2], flat[1::2], strict=True)} if flat else {}
        )
        try:
            await self._dispatch.submit(await self._submission(entry, fields))
        except WarmrouteError as error:
            if error.retryable:
                return False
            await self._refuse(entry, fields, error)
        return True

    async def _submission(self, entry: str, fields: dict[bytes, bytes]) -> Submission:
        given = {name.decode(errors="replace"): value for name, value in fields.items()}
        self._check_fields(given)
        version = given.get("version", b"").decode(errors="replace")
        model = await self._catalog.resolve(
            given["model"].decode(errors="replace"), parse_version(version) if version else LATEST
        )
        parsed = v2_request.parse(given["body"], None, model.manifest)
        parsed.envelope.id = given.get("id", parsed.envelope.id.encode()).decode(errors="replace")
        timeout_us = _timeout_us(given.get("timeout")) or parsed.timeout_us
        return Submission(
            ref=model.ref, envelope=parsed.envelope, wait=False, keep=True, ingress=entry,
            timeout_s=timeout_us / 1e6 if timeout_us else self._timeout_s,
            reply_to=check_reply_to(given.get("reply_to", b""), self._keys),
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
        if len(given.get("id", b"")) > v2_request.MAX_ID:
            raise TooLarge(f"id: over {v2_request.MAX_ID} bytes")

    async def _refuse(self, entry: str, fields: dict[bytes, bytes], error: WarmrouteError) -> None:
        try:
            reply_to = check_reply_to(fields.get(b"reply_to", b""), self._keys)
        except InvalidInput:
            reply_to = ""
        answer: list[Any] = [
            "id", fields.get(b"id", b"")[: v2_request.MAX_ID], "status", "failed",
            "code", error.code, "error", error.message,
        ]  # fmt: skip
        await self._scripts.answer("ingress", entry, reply_to, ANSWER_LIFE_MS, True, answer)


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
