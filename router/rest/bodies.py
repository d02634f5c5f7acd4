"""Bodies: of requests, read whole and decompressed; and small JSON documents, in and out.

aiohttp treats an encoding that it does not know as broken HTTP, and gzip without its end as a whole
body; so bodies are decompressed here. A compressed body is at most as large as a body may be, so it
is read first. A small document is an object in UTF-8, each key given once; errors name the field.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import StreamWriter
from aiohttp.payload import Payload

from router.fleet.json_rows import JsonRows
from router.v2 import large_response, strict
from router.v2 import response as v2_response
from router.v2.json_processes import JsonProcesses
from router.v2.large_response import Piece
from shared.envelope import Outcome
from shared.errors import InvalidInput, TooLarge, UnsupportedInput
from shared.names import ModelRef
from shared.slices import in_slices

CODINGS = "gzip, deflate"
AT_ONCE = 64 << 10  # less than this, before and after, is decompressed without a thread
PIECE = 64 << 10  # is given to zlib at a time: what it leaves is copied
MOST_MEMBERS = 1024  # of gzip; each costs some microseconds, and an empty one has 20 bytes
_GZIP, _ZLIB, _DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_CUT_SHORT = "body: cannot be read (cut short, or corrupt compression)"


def expected_bytes(request: web.Request, limit: int) -> int:
    """The size of the body as declared, or `limit`, the largest, if it is not known."""
    headers = request.headers
    declared = headers.get("Content-Length")  # a number: aiohttp refuses anything else
    if declared is None or "Content-Encoding" in headers:
        return limit
    return min(int(declared), limit)  # a larger one is refused unread


async def read_body(request: web.Request, limit: int, *, compressed: bool = False) -> bytes:
    """The whole body, decompressed if it may be `compressed`. TooLarge over the limit, however it
    was sent, and no more is read; UnsupportedInput if it is coded otherwise than we read;
    InvalidInput if it is broken."""
    coding = _coding(request)
    if coding and not compressed:
        raise UnsupportedInput("Content-Encoding: not offered here, want none")
    if (request.content_length or 0) > limit:
        raise TooLarge(f"body: {request.content_length} bytes, at most {limit}")
    try:
        raw = await _read_upto(request, limit)
    except (web.RequestPayloadError, ValueError):
        raise InvalidInput(_CUT_SHORT) from None
    if not coding or not raw:
        return raw
    unfolding = _unfolded(raw, coding, limit)
    found = bytearray()
    for piece in unfolding:
        found += piece
        if max(len(raw), len(found)) >= AT_ONCE:
            return await asyncio.to_thread(_joined, found, unfolding)
    return bytes(found)


async def _read_upto(request: web.Request, limit: int) -> bytes:
    """The body as it was sent. TooLarge as soon as it has more than `limit` bytes."""
    content = request.content
    first = await content.readany()
    if content.at_eof() and len(first) <= limit:
        return first  # most bodies come in one piece
    read = bytearray(first)
    while len(read) <= limit:
        piece = await content.readany()
        if not piece:
            return bytes(read)
        read += piece
    raise TooLarge(f"body: over the limit of {limit} bytes")


def _coding(request: web.Request) -> str:
    """The one content coding of the body, '' if it has none."""
    headers = request.headers
    if "Transfer-Encoding" in headers and headers["Transfer-Encoding"].lower() != "chunked":
        raise UnsupportedInput("Transfer-Encoding: not offered, want chunked")
    if "Content-Encoding" not in headers:
        return ""
    given = ",".join(headers.getall("Content-Encoding")).lower().split(",")
    codings = [coding for part in given if (coding := part.strip()) not in ("", "identity")]
    if len(codings) > 1 or not set(codings) <= {"gzip", "x-gzip", "deflate"}:
        raise UnsupportedInput(f"Content-Encoding: not offered, want one of {CODINGS}, or none")
    return codings[0].removeprefix("x-") if codings else ""


def decompress(raw: bytes, coding: str, limit: int) -> bytes:
    """What `raw` holds; TooLarge beyond `limit`, InvalidInput if it is broken or has no end."""
    return _joined(bytearray(), _unfolded(raw, coding, limit))


def _joined(found: bytearray, rest: Iterator[bytes]) -> bytes:
    for piece in rest:
        found += piece
    return bytes(found)


def _unfolded(raw: bytes, coding: str, limit: int) -> Iterator[bytes]:
    """What `raw` holds, in pieces of at most `PIECE` bytes, in a time that grows with its size.
    Errors as from `decompress`."""
    windows = _GZIP if coding == "gzip" else _ZLIB if raw[0] & 0xF == 8 else _DEFLATE
    rest, left, members = memoryview(raw), limit, 0
    while rest:  # gzip may be several members in a row
        folded = zlib.decompressobj(windows)
        members += 1
        if members > MOST_MEMBERS:
            raise InvalidInput(f"body: gzip of more than {MOST_MEMBERS} members")
        while not folded.eof:
            piece, rest = _next_piece(folded, rest, min(PIECE, left + 1))
            left -= len(piece)
            if left < 0:
                raise TooLarge(f"body: over the limit of {limit} bytes")
            yield piece
        if rest and coding != "gzip":
            raise InvalidInput(_CUT_SHORT)


def _next_piece(folded: zlib._Decompress, rest: memoryview, most: int) -> tuple[bytes, memoryview]:
    """At most so many bytes, more than none, and what of `rest` was not used."""
    given = rest[:PIECE]
    try:
        piece = folded.decompress(given, most)
    except zlib.error:
        raise InvalidInput(_CUT_SHORT) from None
    used = len(given) - len(folded.unconsumed_tail) - len(folded.unused_data)
    if not (piece or used or folded.eof):
        raise InvalidInput(_CUT_SHORT)
    return piece, rest[used:]


async def read_object(
    request: web.Request, fields: Collection[str], limit: int = 1 << 16
) -> dict[str, Any]:
    """The body as an object with no fields but these; {} if it is empty. InvalidInput, TooLarge."""
    raw = await read_body(request, limit)
    document = _decode(raw) if raw else {}
    if not isinstance(document, dict):
        raise InvalidInput(f"body: want an object with {_list(fields)}")
    refuse_others(document, fields)
    return document


def refuse_others(document: dict[str, Any], fields: Collection[str], under: str = "") -> None:
    """InvalidInput for a field that is not one of `fields`; `under` names the object it is in."""
    for name in document:
        if name not in fields:
            raise InvalidInput(f"{under}{name[:80]}: no such field, want {_list(fields)}")


def json_response(
    document: object, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """A response whose body is `document` as JSON."""
    raw = msgspec.json.encode(document)
    return web.Response(status=status, body=raw, headers=headers, content_type="application/json")


def listing_response(
    document: Mapping[str, Any] | JsonRows, headers: dict[str, str] | None = None
) -> web.Response:
    """As `json_response`, for long lists: rows, or an object with some."""
    pieces: list[Piece] = []
    if isinstance(document, JsonRows):
        pieces += document.pieces
    else:
        mark = b"{"
        for name, value in document.items():
            pieces.append(mark + msgspec.json.encode(name) + b":")
            is_long = isinstance(value, JsonRows)
            pieces += value.pieces if is_long else [msgspec.json.encode(value)]
            mark = b","
        pieces.append(b"}")
    return web.Response(body=Pieces(pieces), headers=headers, content_type="application/json")


class Pieces(Payload):
    """A large body that is sent piece by piece: joined it would be copied once more."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        super().__init__(pieces)
        self._size = sum(map(len, pieces))

    async def write(self, writer: AbstractStreamWriter) -> None:
        """All of it, whether its client reads or not: the time that it may take counts from what is
        unsent."""
        async for piece in in_slices(self._value):
            await cast(StreamWriter, writer).write(piece, drain=False)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The text of the body."""
        return b"".join(self._value).decode(encoding, errors)


async def rendered(
    outcome: Outcome, ref: ModelRef, binary: Mapping[str, bool], default: bool,
    processes: JsonProcesses,
) -> tuple[bytes | Pieces, dict[str, str]]:  # fmt: skip
    """Body and headers of a V2 response. InvalidInput for an output without a JSON form that is to
    be JSON."""
    if not large_response.is_large(outcome):
        return v2_response.render(outcome, ref, binary, default)
    pieces, headers = await large_response.render(outcome, ref, binary, default, processes)
    return Pieces(pieces), headers


def _decode(raw: bytes) -> Any:
    try:
        document = msgspec.json.decode(raw)
        json.loads(raw, object_pairs_hook=strict.refuse_repeated)
    except RecursionError:
        raise InvalidInput("body: JSON is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidInput(f"body: {strict.explain(raw, error)}") from None
    return document


def _list(fields: Collection[str]) -> str:
    return " and ".join(", ".join(fields).rsplit(", ", 1)) if fields else "no fields"
