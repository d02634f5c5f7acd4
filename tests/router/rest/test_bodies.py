"""A body is read whole and decompressed, or refused in words that say what is wrong with it."""

from __future__ import annotations

import gzip
import zlib

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from router.rest.bodies import decompress, read_body
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
