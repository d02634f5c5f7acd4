"""A proxy between a repository and its S3 server that misbehaves as a test tells it to."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

Act = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
_NOT_FORWARDED = {"transfer-encoding", "connection", "server", "date"}


@dataclass
class Proxy:
    """Forwards everything, but asks `act` first; the Host header stays, for it was signed."""

    upstream: str
    url: str = ""
    act: Act | None = None  # on GETs of blobs
    act_on_all: Act | None = None  # on whatever is asked
    alter: Callable[[bytes], bytes] = lambda body: body
    requests: list[web.Request] = field(default_factory=list)
    blob_requests: list[web.Request] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.act_on_all is not None and (answer := await self.act_on_all(request)) is not None:
            return answer
        if request.method == "GET" and "/blobs/" in request.path:
            self.blob_requests.append(request)
            if self.act is not None and (answer := await self.act(request)) is not None:
                return answer
        return await self.forward(request)

    async def forward(self, request: web.Request) -> web.Response:
        target = URL(self.upstream + request.raw_path, encoded=True)
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            async with session.request(
                request.method, target, headers=request.headers, data=await request.read()
            ) as answer:
                body = self.alter(await answer.read())
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in _NOT_FORWARDED}
                if request.method != "HEAD":
                    kept["Content-Length"] = str(len(body))
                return web.Response(status=answer.status, headers=kept, body=body)


async def start(proxy: Proxy, tls: ssl.SSLContext | None = None) -> web.AppRunner:
    """Serve `proxy` on a free port; `cleanup()` the result."""
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    scheme = "https" if tls else "http"
    proxy.url = "{}://{}:{}".format(scheme, *runner.addresses[0][:2])
    return runner


def failing(times: int, status: int = 503) -> Act:
    """The first `times` requests fail."""
    left = times

    async def act(request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        left -= 1
        return web.Response(status=status) if left >= 0 else None

    return act
