"""A gateway small enough to read: real HTTP, real V2 bodies, answers chosen by each test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator

import msgspec
import numpy as np
import pytest
from aiohttp import web

from warmroute import Client
from warmroute.encoding import encode_tensor

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Stub:
    """An aiohttp server in a thread. `answer` replaces what a route says."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self._routes: dict[tuple[str, str], Handler] = {}

    def answer(self, method: str, path: str, handler: Handler) -> None:
        self._routes[method, path] = handler

    def outputs(self, arrays: dict[str, np.ndarray], **headers: str) -> web.Response:
        """A binary V2 response; `headers` are those that start with Warmroute-."""
        tensors, blobs = [], []
        for name, array in arrays.items():
            datatype, shape, raw = encode_tensor(name, array)
            size = {"binary_data_size": len(raw)}
            tensor = {"name": name, "datatype": datatype, "shape": shape, "parameters": size}
            tensors.append(tensor)
            blobs.append(raw)
        response = {"model_name": "m", "model_version": "1", "outputs": tensors}
        header = msgspec.json.encode(response)
        sent = {"Inference-Header-Content-Length": str(len(header))}
        sent |= {f"Warmroute-{k.replace('_', '-')}": value for k, value in headers.items()}
        body = b"".join([header, *blobs])
        return web.Response(body=body, headers=sent, content_type="application/octet-stream")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append((request.method, request.raw_path, dict(request.headers), body))
        handler = self._routes.get((request.method, request.path))
        if handler is None:
            return web.json_response({"error": "Not Found"}, status=404)
        return await handler(request)


@pytest.fixture
def stub() -> Iterator[Stub]:
    """The stub, listening on a free port."""
    stub, loop, up = Stub(), asyncio.new_event_loop(), threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_route("*", "/{path:.*}", stub.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        up.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert up.wait(60)
    yield stub
    loop.call_soon_threadsafe(stop.set)
    thread.join(60)
    loop.close()


@pytest.fixture
def client(stub: Stub) -> Iterator[Client]:
    """A client of the stub."""
    with Client(stub.url, timeout=10.0) as client:
        yield client
