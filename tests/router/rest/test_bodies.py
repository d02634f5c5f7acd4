"""A body is read whole and decompressed, or refused in words that say what is wrong with it."""

from __future__ import annotations

import asyncio
import gzip
import threading
import zlib
from typing import Any
from unittest import mock

import pytest
from aiohttp import web
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from router.rest import bodies
from router.rest.bodies import MOST_MEMBERS, decompress, read_body
from shared.errors import InvalidInput, TooLarge, UnsupportedInput

PLAIN = b'{"inputs": []}' * 9
LIMIT = 1000


def deflated(raw: bytes) -> bytes:
    """Without the head of zlib, as some clients send it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(raw) + packer.flush()


FORMS = {
    "gzip": ("gzip", gzip.compress(PLAIN)),
    "zlib": ("deflate", zlib.compress(PLAIN)),
    "bare deflate": ("deflate", deflated(PLAIN)),
    "two members": ("gzip", gzip.compress(PLAIN[:20]) + gzip.compress(PLAIN[20:])),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_was_compressed_comes_back(form: str) -> None:
    """Up to the limit, and not a byte over it."""
    coding, raw = FORMS[form]
    assert decompress(raw, coding, len(PLAIN)) == PLAIN
    with pytest.raises(TooLarge):
        decompress(raw, coding, len(PLAIN) - 1)


@pytest.mark.parametrize("form", FORMS)
def test_a_body_that_is_cut_anywhere_is_refused(form: str) -> None:
    """Also where only its checksum is missing: it may be what tells that the rest is wrong."""
    coding, raw = FORMS[form]
    ends = {len(raw) - 1, len(raw) - 4, len(raw) - 8, len(raw) // 2 + 3, 1}
    for cut in (raw[:end] for end in ends if end > 0):
        with pytest.raises(InvalidInput, match="cut short"):
            decompress(cut, coding, LIMIT)


@pytest.mark.parametrize("form", ["gzip", "zlib", "two members"])
def test_a_wrong_checksum_and_a_tail_are_refused(form: str) -> None:
    """Both say that the body is not what was sent."""
    coding, raw = FORMS[form]
    wrong = bytearray(raw)
    wrong[-6 if coding == "gzip" else -1] ^= 1
    for broken in (bytes(wrong), raw + b"tail", raw + b"\0"):
        with pytest.raises(InvalidInput, match="corrupt"):
            decompress(broken, coding, LIMIT)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_no_more_is_unfolded_than_is_needed(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither to refuse a bomb nor at a time: its first pieces show that it is one."""
    fold = {"gzip": gzip.compress, "deflate": zlib.compress}[coding]
    unfolded: list[int] = []
    real = bodies._next_piece

    def counted(*args: Any) -> Any:
        piece, rest = real(*args)
        unfolded.append(len(piece))
        return piece, rest

    monkeypatch.setattr(bodies, "_next_piece", counted)
    with pytest.raises(TooLarge):
        decompress(fold(bytes(100 << 20)), coding, 1 << 20)
    assert sum(unfolded) == (1 << 20) + 1 and max(unfolded) <= bodies.PIECE


@pytest.mark.parametrize("size", [0, 1])
def test_many_members_are_refused_before_they_cost_anything(size: int) -> None:
    """Each would be found by a copy of all that follows it, which is minutes for 16 MiB."""
    raw = gzip.compress(bytes(size))
    assert len(decompress(raw * MOST_MEMBERS, "gzip", LIMIT * 10)) == MOST_MEMBERS * size
    with pytest.raises(InvalidInput, match="members"):
        decompress(raw * 500_000, "gzip", 1 << 24)


async def test_a_small_body_that_unfolds_is_finished_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The event loop unfolds some kilobytes of it."""
    threads: list[int] = []
    real = bodies._next_piece

    def noted(*args: Any) -> Any:
        threads.append(threading.get_ident())
        return real(*args)

    monkeypatch.setattr(bodies, "_next_piece", noted)
    raw = gzip.compress(bytes(4 << 20))
    assert len(raw) < bodies.AT_ONCE
    request = sent(raw, ("Content-Encoding", "gzip"))
    assert await read_body(request, 4 << 20, compressed=True) == bytes(4 << 20)
    here = threads.count(threading.get_ident())
    assert here <= 2 and len(threads) > 60
    with pytest.raises(TooLarge):
        await read_body(sent(raw, ("Content-Encoding", "gzip")), 1 << 20, compressed=True)


def sent(raw: bytes, *headers: tuple[str, str]) -> web.Request:
    """A request with a body."""
    protocol = mock.Mock(_reading_paused=False)
    payload = StreamReader(protocol, 1 << 16, loop=asyncio.get_running_loop())
    payload.feed_data(raw)
    payload.feed_eof()
    return make_mocked_request("POST", "/", headers=CIMultiDict(headers), payload=payload)


def asked(*headers: tuple[str, str]) -> object:
    return make_mocked_request("POST", "/", headers=CIMultiDict(headers))


@pytest.mark.parametrize(
    "codings",
    [("br",), ("zstd",), ("compress",), ("gzip, gzip",), ("gzip", "gzip"), ("deflate, gzip",),
     ("gzip;q=1",), ("nonsense",), ("GZIP, BR",)],
)  # fmt: skip
async def test_another_coding_is_not_offered(codings: tuple[str, ...]) -> None:
    """Unread, with those that are."""
    with pytest.raises(UnsupportedInput, match="gzip, deflate"):
        await read_body(asked(*(("Content-Encoding", one) for one in codings)), LIMIT)


async def test_a_transfer_coding_but_chunked_is_not_offered() -> None:
    """It would be taken for the tensor's own bytes."""
    for coding in ("gzip, chunked", "deflate,chunked", "chunked, chunked"):
        with pytest.raises(UnsupportedInput, match="Transfer-Encoding"):
            await read_body(asked(("Transfer-Encoding", coding)), LIMIT)
