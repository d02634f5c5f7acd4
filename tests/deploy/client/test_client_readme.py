"""The Python of the client's own README runs, from its first block to its last."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from aiohttp import web

from tests.helpers.paths import ROOT
from warmroute import Client

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub

README = (ROOT / "deploy" / "client" / "README.md").read_text()


def test_the_blocks_run_one_after_the_other(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    """Against a gateway whose model `mlp` gives back its input."""

    async def infer(request: web.Request) -> web.Response:
        if request.headers.get("Prefer"):
            headers = {"Location": "/v2/requests/7"}
            return web.json_response({"id": "7", "status": "queued"}, status=202, headers=headers)
        length = int(request.headers["Inference-Header-Content-Length"])
        array = np.frombuffer((await request.read())[length:], "<f4").reshape(1, 16)
        return stub.outputs({"output": array}, worker="w1", cold="false")

    async def outcome(request: web.Request) -> web.Response:
        return stub.outputs({"output": np.ones((1, 16), np.float32)})

    async def metadata(request: web.Request) -> web.Response:
        spec = {"name": "input", "datatype": "FP32", "shape": [-1, 16]}
        return web.json_response({"name": "mlp", "inputs": [spec], "outputs": []})

    stub.answer("POST", "/v2/models/mlp/infer", infer)
    stub.answer("GET", "/v2/models/mlp", metadata)
    stub.answer("GET", "/v2/requests/7", outcome)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec("\n".join(blocks).replace("http://127.0.0.1:8000", stub.url), names)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "(1, 16) w1 False" and said[-1] == "(1, 16)"
    assert "10 10" in said and "9.0" in said
    assert isinstance(names["client"], Client)
    names["client"].close()


def test_the_table_of_errors_and_the_list_of_calls_name_what_there_is() -> None:
    """Every name in it."""
    import warmroute

    table = README.partition("## Errors")[2].partition("## Operators")
    named = re.findall(r"`([A-Z]\w+)`", table[0])
    calls = re.findall(r"`([a-z_]+)`", table[2].partition(" do what")[0])
    assert [name for name in named if not hasattr(warmroute, name)] == []
    assert [name for name in calls if not hasattr(Client, name)] == [] and len(calls) > 10
