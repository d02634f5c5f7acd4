"""Dead letters: requests that could not be served, kept for an operator to read, replay or drop.

The newest 1,000 are kept, in one stream, within a budget of bytes (`drop_kept.lua`). A letter is a
request that failed for good because workers died while running it, or an invalid stream entry. Its
entry id in that stream names it.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from redis.asyncio import Redis

from router.requests.call import RequestIds
from router.v2 import tensors
from shared import statuses
from shared.connection import redis_errors
from shared.envelope import USUAL, Envelope, Tensor, unpack_envelope
from shared.errors import Conflict, InvalidInput, NotFound, WarmrouteError
from shared.events import LATEST_MS
from shared.keys import Keys
from shared.placed import Limits, Placed
from shared.redis_decode import number
from shared.scripts import GatewayScripts
from shared.shared_memory import is_reference

SHOWN_BYTES = 1 << 20  # a larger payload is not written out as JSON; it can still be replayed
_CARRIED = b"entry."  # before a field that a letter keeps for its replay only (constants.lua)
READ_AT_ONCE = 8  # one script call passes over their payloads, of up to 1 MiB each
ENTRY = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")


@dataclass(frozen=True)
class Letter:
    """One dead letter. `fields` are as the scripts wrote them, `body` aside. `entry`: its name."""

    entry: str
    fields: dict[str, str]
    body: bytes
    size: int

    def document(self) -> dict[str, Any]:
        """The letter as a list shows it, without empty fields."""
        fields = self.fields
        code, _, message = fields.get("cause", "").partition(" ")
        name, _, rest = fields.get("model", "").partition(":")
        shown = {
            "entry": self.entry,
            "kind": fields.get("kind", ""),
            "id": fields.get("id", ""),
            "model": name,
            "version": rest.partition(":")[0] or fields.get("version", ""),
            "code": code,
            "error": message,
            "worker": fields.get("worker", ""),
            "attempts": int(number(fields.get("attempts", ""))),
            "fingerprint": fields.get("fingerprint", ""),
            "died": _time_of(self.entry),
            "payload_bytes": self.size,
        }
        return {name: value for name, value in shown.items() if value != ""}

    def full_document(self) -> dict[str, Any]:
        """The whole letter: `request` is the payload as V2 JSON, `request_error` why it is not."""
        more = ("timeout", "reply_to") if self.fields.get("kind") == "entry" else ()
        shown = self.document() | {name: self.fields[name] for name in more if name in self.fields}
        try:
            return shown | {"request": self._request()}
        except WarmrouteError as error:
            return shown | {"request_error": error.message}

    def _request(self) -> Any:
        if is_reference(self.body):
            raise InvalidInput("its tensors were in shared memory that is freed")
        if len(self.body) > SHOWN_BYTES:
            raise InvalidInput(f"{len(self.body)} bytes, at most {SHOWN_BYTES} are shown")
        try:
            if self.fields.get("kind") == "entry":
                return msgspec.json.decode(self.body)
            return _as_v2(unpack_envelope(self.body))
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            raise InvalidInput(f"it cannot be read: {error}") from error


def full_json(letter: Letter) -> bytes:
    """The whole letter as JSON."""
    return msgspec.json.encode(letter.full_document())


class DeadLetters:
    """Reads them by a client of its own: a large payload must not delay requests."""

    def __init__(
        self, client: Redis, keys: Keys, scripts: GatewayScripts, limits: Limits, timeout_s: float
    ) -> None:
        self._client = client
        self._stream = keys.dead_letters
        self._ids = RequestIds(keys.cell)
        self._scripts = scripts
        self._limits = limits
        self._timeout_ms = round(timeout_s * 1000)
        self._reading = asyncio.Lock()  # one payload is in memory at a time

    async def newest(self, limit: int, after: str = "") -> tuple[list[Letter], str | None]:
        """Up to `limit` letters without their payloads, newest first, from behind `after` on; and
        the `after` of the page that follows, None at the end. InvalidInput for another `after`."""
        found: list[Letter] = []
        if after and not ENTRY.fullmatch(after):
            raise InvalidInput("after: want the `next` of a page; without it: the first page")
        upto = f"({after}" if after else "+"
        while len(found) < limit:
            count = min(READ_AT_ONCE, limit - len(found))
            rows = await self._scripts.list_letters(upto, count)
            found += [_letter(entry, _pairs(flat), size=size) for entry, size, flat in rows]
            if len(rows) < count:
                return found, None
            upto = f"({found[-1].entry}"
        return found, found[-1].entry

    async def get(self, entry: str) -> Letter:
        """One letter with its payload; NotFound."""
        _check(entry)
        async with self._reading:
            with redis_errors():
                rows: Any = await self._client.xrange(self._stream, entry, entry)
        if not rows:
            raise NotFound(f"dead letter {entry}: unknown")
        return _letter(*rows[0])

    async def drop(self, entry: str) -> None:
        """Delete a letter; NotFound."""
        with redis_errors():
            dropped = await self._client.xdel(self._stream, _check(entry))
        if not dropped:
            raise NotFound(f"dead letter {entry}: unknown")

    async def replay(self, entry: str) -> tuple[str, Placed]:
        """Submit a letter as a new request with its own deadline; the new id, and its place.

        The letter is deleted in the same step, unless the request is refused. NotFound, Conflict if
        its payload was dropped, and the errors of placing.
        """
        request_id = self._ids.take()
        placed = await self._scripts.replay(
            _check(entry), request_id, self._timeout_ms, self._limits
        )
        if placed.status == statuses.UNKNOWN:
            raise NotFound(f"dead letter {entry}: unknown")
        if placed.status == statuses.UNKEPT:
            raise Conflict(
                f"dead letter {entry}: its payload is not kept: it was too large, or in shared "
                "memory that is freed"
            )
        if placed.status != statuses.INGRESS:
            placed.raise_for_status(self._limits)
        return request_id, placed


def _check(entry: str) -> str:
    if not ENTRY.fullmatch(entry):
        raise NotFound("no such dead letter: want an entry id such as 1700000000000-0")
    return entry


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _letter(entry: bytes, fields: dict[bytes, bytes], size: int | None = None) -> Letter:
    """The letter of an entry; `size`: of a payload that was not read. Fields of a newer release
    stay in Redis."""
    shown = (name for name in fields if not name.startswith(_CARRIED))
    raw = {name.decode(errors="replace"): fields[name] for name in shown}
    body = raw.pop("body", b"")
    texts = {name: value[:1024].decode(errors="replace") for name, value in raw.items()}
    return Letter(entry.decode(), texts, body, len(body) if size is None else size)


def _time_of(entry: str) -> str:
    """An entry id begins with Redis's clock, in milliseconds, behind the name of its cell if there
    are several."""
    ms = entry.rpartition(".")[2].partition("-")[0]
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(int(ms), LATEST_MS) / 1000))


def _as_v2(envelope: Envelope) -> dict[str, Any]:
    """The V2 request of an envelope; InvalidInput for tensors without a JSON form."""
    document: dict[str, Any] = {"inputs": [_row(tensor) for tensor in envelope.inputs]}
    if envelope.id:
        document["id"] = envelope.id
    if envelope.outputs:
        document["outputs"] = [{"name": name} for name in envelope.outputs]
    if envelope.priority != USUAL:
        document["parameters"] = {"priority": envelope.priority}
    return document


def _row(tensor: Tensor) -> dict[str, Any]:
    data = tensors.to_json(tensor.data, tensor.datatype, f"inputs[{tensor.name[:80]!r}]")
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": tensor.shape,
        "data": data,
    }
