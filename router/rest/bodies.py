"""Bodies of requests: read whole, and decompressed here, not by aiohttp.

aiohttp takes an encoding that it does not know for broken HTTP, and gzip without its end for a
whole body. What arrives compressed is at most as large as a body may be, so it is held first.
"""

from __future__ import annotations

import asyncio
import zlib

from aiohttp import web

from shared.errors import InvalidInput, TooLarge, UnsupportedInput

CODINGS = "gzip, deflate"
AT_ONCE = 64 << 10  # less than this is decompressed without a thread
_GZIP, _ZLIB, _DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_CUT_SHORT = "body: cannot be read (cut short, or corrupt compression)"


async def read_body(request: web.Request, limit: int) -> bytes:
    """The whole body, decompressed. TooLarge over the limit, however it was sent;
    UnsupportedInput if it is coded otherwise than we read; InvalidInput if it is broken."""
    coding = _coding(request)
    if (request.content_length or 0) > limit:
        raise TooLarge(f"body: {request.content_length} bytes, at most {limit}")
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(f"body: over the limit of {limit} bytes") from None
    except (web.RequestPayloadError, ValueError):
        raise InvalidInput(_CUT_SHORT) from None
    if not coding or not raw:
        return raw
    if len(raw) < AT_ONCE:
        return decompress(raw, coding, limit)
    return await asyncio.to_thread(decompress, raw, coding, limit)


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
    windows = _GZIP if coding == "gzip" else _ZLIB if raw[0] & 0xF == 8 else _DEFLATE
    found = b""
    while raw:  # gzip may be several members in a row
        folded = zlib.decompressobj(windows)
        try:
            found += folded.decompress(raw, limit + 1 - len(found))
        except zlib.error:
            raise InvalidInput(_CUT_SHORT) from None
        if len(found) > limit:
            raise TooLarge(f"body: over the limit of {limit} bytes")
        if not folded.eof or (folded.unused_data and coding != "gzip"):
            raise InvalidInput(_CUT_SHORT)
        raw = folded.unused_data
    return found
