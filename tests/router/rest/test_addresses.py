"""What a gateway listens on, and the address that it prints."""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from router.rest.server import address, listened

PRINTED = {
    "127.0.0.1": "http://127.0.0.1:1", "localhost": "http://localhost:1", "::1": "http://[::1]:1",
    "[::1]": "http://[::1]:1", "0.0.0.0": "http://127.0.0.1:1", "::": "http://127.0.0.1:1",
    "*": "http://127.0.0.1:1", "": "http://127.0.0.1:1", "fe80::1%eth0": "http://[fe80::1%25eth0]:1",
}  # fmt: skip


@pytest.mark.parametrize("host", PRINTED)
def test_a_printed_address_can_be_called(host: str) -> None:
    """From the same machine, by what reads URLs."""
    assert address(host, 1) == PRINTED[host]
    assert urlsplit(address(host, 1)).port == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "*", "", "[::1]", "localhost"])
async def test_the_printed_address_answers(host: str) -> None:
    """Whatever was listened on; `::` is IPv4 too."""
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    runner = web.AppRunner(web.Application())
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, listened(host), port).start()  # type: ignore[arg-type]
        except OSError as error:
            pytest.skip(f"not here: {error}")
        shown = urlsplit(address(host, port))
        _, writer = await asyncio.open_connection(shown.hostname, shown.port)
        writer.close()
    finally:
        await runner.cleanup()
