"""One ranged GET of one part of a blob: the request, the answers that are accepted, the retries.

No message contains any part of a URL: it has a signature.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

import aiohttp
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)
from yarl import URL

from shared.errors import (
    ChangedMeanwhile,
    Corrupt,
    Forbidden,
    RepositoryError,
    StoreUnavailable,
)
from shared.repository.base import UrlSource
from shared.repository.responses import error_code, from_status
from shared.repository.tls import CertificateRefused, context_of, refused_certificate
from worker.weight_cache.landing import Landing
from worker.weight_cache.loop_thread import run_in

SMALL_PART, LARGE_PART = 4 << 20, 16 << 20
Part = tuple[int, int]
"""[start, end) in bytes."""
MOST_SIGNED = 2
_ERROR_BODY_BYTES = 4096
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True)
class Retry:
    """The attempts for a part, and the wait between two: a random time up to `first_s`, then up to
    twice that and so on, up to `longest_s`. Only transient failures are retried."""

    attempts: int = 8
    first_s: float = 0.1
    longest_s: float = 5.0


@dataclass
class Pinned:
    """The object that all parts of one download must come from. Its URL is signed again when it is
    refused, and not more than twice without an answer in between."""

    what: str
    source: UrlSource
    size: int
    proxy: str | None = None
    etag: str | None = None  # None until the first answer
    url: str = field(default="", repr=False)
    signed: int = 0  # how often it was signed again
    signed_in_vain: int = 0  # of these, since the last answer
    _signing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.url = self.source.url

    async def sign_again(self, expired: int) -> bool:
        """Have another URL than the one that had been signed again so often; False if another
        would not help."""
        async with self._signing:
            if self.signed != expired:
                return True  # another part has done it
            if self.source.sign_again is None or self.signed_in_vain == MOST_SIGNED:
                return False
            self.url = await run_in(None, self.source.sign_again)
            self.signed += 1
            self.signed_in_vain += 1
            return True

    def headers(self, start: int, end: int) -> dict[str, str]:
        """The request headers. The whole object is not requested as a range: an empty object has
        none."""
        headers = {"Accept-Encoding": "identity", **self.source.headers}
        if self.is_range(start, end):
            headers["Range"] = f"bytes={start}-{end - 1}"
        if self.etag is not None:
            headers["If-Match"] = self.etag
        return headers

    def is_range(self, start: int, end: int) -> bool:
        return (start, end) != (0, self.size)


def plan_parts(size: int) -> list[Part]:
    """[start, end) of each part, in order; one empty part for an empty blob.

    About 24 parts: small enough that hashing keeps up with what has come without gaps, large
    enough that a request's cost does not show.
    """
    step = min(max(size // 24, SMALL_PART), LARGE_PART)
    return [(start, min(start + step, size)) for start in range(0, size, step)] or [(0, 0)]


async def get_part(
    session: aiohttp.ClientSession,
    pinned: Pinned,
    part: Part,
    landing: Landing,
    retry: Retry,
) -> None:
    """Fetch bytes [start, end) of the pinned object; what has arrived is not requested again.

    Raises the error that says why it failed; StoreUnavailable once the attempts are used up.
    """
    start, end = part
    while True:
        signed = pinned.signed
        try:
            async for attempt in _attempts(retry):
                with attempt:
                    async with aclosing(_chunks(session, pinned, start, end)) as chunks:
                        async for data in chunks:
                            landing.write(data, start)
                            start += len(data)
            return
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{error.message}, tried {retry.attempts} times") from error
        except Forbidden as error:  # the credentials have expired, or are others by now
            if isinstance(error, CertificateRefused) or not await pinned.sign_again(signed):
                raise


def _attempts(retry: Retry) -> AsyncRetrying:
    return AsyncRetrying(
        retry=retry_if_exception_type(StoreUnavailable),
        stop=stop_after_attempt(retry.attempts),
        wait=wait_random_exponential(retry.first_s, retry.longest_s),
        reraise=True,
    )


async def _chunks(
    session: aiohttp.ClientSession, pinned: Pinned, start: int, end: int
) -> AsyncGenerator[bytes]:
    """The bytes [start, end) as they arrive, all of them; StoreUnavailable if they stop before."""
    left = end - start
    try:
        async with session.get(
            URL(pinned.url, encoded=True),  # as it was signed
            headers=pinned.headers(start, end),
            proxy=pinned.proxy,
            ssl=context_of(ca_file) if (ca_file := pinned.source.ca_file) else True,
            allow_redirects=False,  # the address was signed: no request to another host
        ) as response:
            await _refuse_failure(response, pinned)
            _check_object(response, pinned, start, end)
            pinned.signed_in_vain = 0
            async for data in response.content.iter_any():
                left -= len(data)
                if left < 0:
                    raise Corrupt(f"{pinned.what}: the store sent more than the manifest says")
                yield data
    except (aiohttp.ClientError, TimeoutError) as error:
        if refused := refused_certificate(pinned.what, error):
            raise refused from error
        reason = type(error).__name__
        raise StoreUnavailable(f"{pinned.what}: the store does not answer ({reason})") from error
    if left:
        raise StoreUnavailable(f"{pinned.what}: the answer ended {left} bytes early")


async def _refuse_failure(response: aiohttp.ClientResponse, pinned: Pinned) -> None:
    if response.status not in (200, 206):
        body = await response.content.read(_ERROR_BODY_BYTES)
        raise from_status(pinned.what, response.status, *error_code(body))


def _check_object(response: aiohttp.ClientResponse, pinned: Pinned, start: int, end: int) -> None:
    """Refuse a response that is not the requested part, before any byte of its body is read."""
    etag = response.headers.get("ETag")
    if pinned.etag is not None and etag != pinned.etag:
        raise ChangedMeanwhile(f"{pinned.what}: changed while it was read")
    pinned.etag = etag
    if pinned.is_range(start, end):
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        as_asked = response.status == 206 and found is not None and int(found[1]) == start
        total = int(found[3]) if found else None
    else:
        as_asked = response.status == 200
        total = response.content_length
    if not as_asked:
        raise RepositoryError(f"{pinned.what}: the store does not answer ranges as requested")
    if total not in (None, pinned.size):
        raise Corrupt(f"{pinned.what}: holds {total} bytes, the manifest says {pinned.size}")
