"""`python -m deploy.bench.echo PORT`: a bare aiohttp server that gives back what it gets.

The least that a gateway made of aiohttp and uvloop could do: read a body, write a body.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web

from deploy.local.ports import LOOPBACK

MOST_BYTES = 64 << 20
BACKLOG = 1024


async def echo(request: web.Request) -> web.Response:
    """The body, as it came."""
    return web.Response(body=await request.read(), content_type=request.content_type)


async def serve(port: int) -> None:
    """Listen until ended by a signal."""
    app = web.Application(client_max_size=MOST_BYTES)
    app.router.add_post("/v2/models/{model}/infer", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port, backlog=BACKLOG).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
