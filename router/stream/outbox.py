"""Outcomes of streamed requests, rendered as V2 JSON into the stream that the producer named.

`publish.lua` writes the id of such a request, and where its answer goes, into the outbox in the
step that ends it. Any gateway renders it; `answer` deletes the outbox entry and writes the answer
in one step, so it comes once.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from router.stream.ingress import ANSWER_LIFE_MS, warn_if_refused
from router.v2 import large_response
from router.v2 import response as v2_response
from router.v2.json_processes import JsonProcesses
from shared import failpoints, statuses
from shared.channel import Channel
from shared.connection import BLOCK_MS, redis_errors, refuses_data
from shared.constants import DOOR_GROUP
from shared.envelope import Outcome, unpack_error, unpack_outcome
from shared.errors import Gone, InvalidInput, Unavailable, WarmrouteError
from shared.keys import Keys
from shared.names import ModelRef
from shared.redis_decode import pairs
from shared.scripts import GatewayScripts

log = logging.getLogger(__name__)

READ_COUNT = 64
BATCH_BYTES = 16 << 20

Row = tuple[bytes, list[bytes] | None]


class Outbox:
    """Reads the outbox as one consumer of the gateways' group."""

    def __init__(
        self, channel: Channel, keys: Keys, scripts: GatewayScripts, gateway: str,
        processes: JsonProcesses,
    ) -> None:  # fmt: skip
        self._channel = channel
        self._keys = keys
        self._scripts = scripts
        self._gateway = gateway
        self._processes = processes
        self._position = "0"

    async def run_once(self) -> int:
        """Answer requests that have ended; the number of entries."""
        position, self._position = self._position, "0"
        with redis_errors():
            streams = await self._channel.execute_command(
                "XREADGROUP", "GROUP", DOOR_GROUP, self._gateway, "COUNT", READ_COUNT,
                "BLOCK", BLOCK_MS, "STREAMS", self._keys.outbox, position,
            )  # fmt: skip
        entries = streams[0][1] if streams else []
        for batch in await self._batches(entries):
            done = await asyncio.gather(
                *(self._answer(entry.decode(), flat or []) for entry, flat in batch),
                return_exceptions=True,
            )
            for result in done:
                if isinstance(result, BaseException):
                    raise result
        self._position = ">" if position == ">" or not entries else "0"
        return len(entries)

    async def _batches(self, entries: list[Row]) -> list[list[Row]]:
        """The entries in parts whose outcomes have BATCH_BYTES together, or one that has more: what
        is in memory at a time is bounded, however many have ended."""
        sizes = await asyncio.gather(*(self._size_of(flat) for _, flat in entries))
        batches: list[list[Row]] = []
        left = 0
        for row, size in zip(entries, sizes, strict=True):
            if not batches or size > left:
                batches.append([])
                left = BATCH_BYTES
            batches[-1].append(row)
            left -= size
        return batches

    async def _size_of(self, flat: list[bytes] | None) -> int:
        """Bytes of an outcome; 0 of one that cannot be read."""
        record = self._keys.request(_id_of(pairs(flat or [])))
        try:
            with redis_errors():
                return int(await self._channel.execute_command("HSTRLEN", record, "outcome"))
        except Unavailable as error:
            if not refuses_data(error):
                raise
            return 0

    async def _answer(self, entry: str, flat: list[bytes]) -> None:
        await failpoints.reach("outbox.read")
        given = pairs(flat)
        request_id, reply_to = _id_of(given), given.get(b"to", b"")
        try:
            record = await self._scripts.subscribe(request_id, "")
        except Unavailable as error:
            if not refuses_data(error):
                raise
            log.error("request %s: its record cannot be read: %s", request_id, error)
            record = {}  # it must not block those behind it
        fields: list[Any] = []
        if record.get("status", b"").decode() in statuses.TERMINAL:
            fields = await render(request_id, record, self._processes)
        elif reply_to:
            fields = gone(request_id)
        to = reply_to.decode(errors="replace")
        replied = await self._scripts.publish_reply(
            "outbox", entry, to, ANSWER_LIFE_MS, False, fields
        )
        warn_if_refused(replied, to)


def _id_of(given: dict[bytes, bytes]) -> str:
    return given.get(b"id", b"").decode(errors="replace")


def gone(request_id: str) -> list[Any]:
    """The answer of a request that ended while no gateway ran, and whose outcome was dropped."""
    return [
        "request", request_id, "status", statuses.GONE, "code", Gone.code,
        "error", "its outcome is no longer kept",
    ]  # fmt: skip


async def render(request_id: str, record: dict[str, bytes], processes: JsonProcesses) -> list[Any]:
    """The answer's fields: request, id (the producer's own), status, model, worker, then body, or
    code and error."""
    ref = ModelRef.parse(record["model"].decode())
    head: list[Any] = [
        "request", request_id, "id", record.get("caller_id", b""), "status", record["status"],
        "model", ref.name, "worker", record.get("worker", b""),
    ]  # fmt: skip
    if record["status"] != statuses.SUCCEEDED.encode():
        error = unpack_error(record["outcome"])
        return [*head, "code", error.code, "error", error.message]
    try:
        body = await _body(unpack_outcome(record["outcome"]), ref, processes)
    except InvalidInput as error:  # FP16 and BF16 have no JSON form
        where = f"GET /v2/requests/{request_id} with Accept: application/octet-stream"
        return [*head, "code", error.code, "error", f"{error.message}: {where}"]
    except msgspec.MsgspecError:  # an outcome that cannot be read must not block those behind it
        return [*head, "code", WarmrouteError.code, "error", "its outcome cannot be read"]
    return [*head, "body", body]


async def _body(outcome: Outcome, ref: ModelRef, processes: JsonProcesses) -> bytes:
    if large_response.is_large(outcome):
        return b"".join(await large_response.document(outcome, ref, {}, False, processes))
    return v2_response.render(outcome, ref, {}, False)[0]
