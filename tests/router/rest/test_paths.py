"""Every path: with a slash at the end, with HEAD and OPTIONS, and those that are not offered."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from router.rest.routes import SHARED_MEMORY, routes
from tests.helpers.cell import Cell
from tests.helpers.gateway import (
    BODY,
    INFER,
    RunningGateway,
    answer_all,
    publish_nothing,
    running_gateway,
)
from tests.helpers.http import exchange
from tests.helpers.wait import wait_until

NOT_OFFERED = [
    ("GET", "/v2/models/stats"), ("GET", "/v2/models/mnist/stats"),
    ("GET", "/v2/models/mnist/versions/1/stats"), ("GET", "/v2/trace/setting"),
    ("POST", "/v2/trace/setting"), ("GET", "/v2/models/mnist/trace/setting"),
    ("POST", "/v2/models/mnist/trace/setting"), ("GET", "/v2/logging"), ("POST", "/v2/logging"),
    ("POST", "/v2/models/mnist/generate"), ("POST", "/v2/models/mnist/generate_stream"),
    ("POST", "/v2/models/mnist/versions/1/generate"), ("POST", "/v2/repository/main/index"),
    ("POST", "/v2/repository/main/models/mnist/load"),
    ("POST", "/v2/repository/main/models/mnist/unload"),
    *(("GET", f"/v2/{kind}sharedmemory/status") for kind in SHARED_MEMORY),
    *(("GET", f"/v2/{kind}sharedmemory/region/a/status") for kind in SHARED_MEMORY),
    *(("POST", f"/v2/{kind}sharedmemory/region/a/register") for kind in SHARED_MEMORY),
    *(("POST", f"/v2/{kind}sharedmemory/region/a/unregister") for kind in SHARED_MEMORY),
    *(("POST", f"/v2/{kind}sharedmemory/unregister") for kind in SHARED_MEMORY),
]  # fmt: skip
PATHS = [
    "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models", "/v2/models/mnist",
    "/v2/models/mnist/ready", "/v2/models/mnist/config", "/v2/models/mnist/versions/1",
    "/v2/models/mnist/versions/1/config", "/v2/models/mnist/policy", "/v2/residency",
    "/v2/models/mnist/residency", "/v2/events", "/v2/dead", "/v2/sessions", "/v2/models/nobody",
    "/v2/models/mnist/infer", "/v2/nothing",
]  # fmt: skip
STATUS_WORDS = {400: "invalid", 404: "not_found"}


@pytest.fixture
async def gateway(cell: Cell, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(cell, publish_nothing(tmp_path)) as gateway:
        yield gateway


async def ask(
    gateway: RunningGateway, verb: str, path: str, **given: Any
) -> tuple[int, dict[str, str], bytes]:
    async with gateway.http.request(verb, path, **given) as answer:
        return answer.status, dict(answer.headers), await answer.read()


async def test_a_slash_at_the_end_changes_nothing(gateway: RunningGateway) -> None:
    """Clients that join paths carelessly are understood."""
    for path in PATHS:
        status, _, body = await ask(gateway, "GET", path)
        with_slash, _, again = await ask(gateway, "GET", path + "/")
        assert with_slash == status, path
        assert path == "/v2/residency" or again == body, path
    assert (await ask(gateway, "POST", "/v2/repository/index/"))[0] == 200
    assert (await ask(gateway, "GET", "/v2//"))[0] == 404


async def test_head_is_get_without_its_body(gateway: RunningGateway) -> None:
    """The same status and headers."""
    for path in PATHS:
        status, headers, _ = await ask(gateway, "GET", path)
        got, its, body = await ask(gateway, "HEAD", path)
        assert (got, body) == (status, b""), path
        assert set(its) == set(headers), path
        assert its["Content-Type"] == headers["Content-Type"]


def concrete(path: str) -> str:
    """A path that the pattern of a route stands for."""
    return re.sub(r"\{\w+:(\w+)[^}]*\}|\{\w+\}", lambda m: m[1] or "1", path)


async def test_every_path_says_which_verbs_it_takes(gateway: RunningGateway) -> None:
    """OPTIONS 204, another verb 405, with the same `Allow`; each verb in it is one it takes."""
    taken: dict[str, set[str]] = {}
    for route in routes()[:-1]:
        taken.setdefault(route.path, set()).add(route.method)
    for path, verbs in taken.items():
        if verbs == {"*"}:
            continue
        want = (verbs - {"*"}) | {"OPTIONS"} | ({"HEAD"} if "GET" in verbs else set())
        status, headers, body = await ask(gateway, "OPTIONS", concrete(path))
        assert (status, body, set(headers["Allow"].split(", "))) == (204, b"", want), path
        status, headers, body = await ask(gateway, "PATCH", concrete(path))
        assert (status, set(headers["Allow"].split(", "))) == (405, want), path
        assert headers["Warmroute-Error"] == "method_not_allowed" and json.loads(body)["error"]


async def test_what_aiohttp_says_by_itself_is_said_in_our_form(gateway: RunningGateway) -> None:
    """`OPTIONS *` is answered, an expectation that nobody can meet is refused."""

    def send(raw: bytes) -> Any:
        return exchange(gateway.url, raw)

    star = await asyncio.to_thread(send, b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (star.status, star.body) == (204, b"")
    assert set(star.headers["allow"].split(", ")) >= {"GET", "HEAD", "POST", "PUT", "DELETE"}
    odd = await asyncio.to_thread(send, b"GET /v2 HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n")
    assert (odd.status, odd.headers["warmroute-error"]) == (417, "expectation_failed")
    assert "100-continue" in odd.json()["error"]


@pytest.mark.parametrize(("verb", "path"), NOT_OFFERED)
async def test_paths_of_extensions_that_are_not_offered_say_so(
    gateway: RunningGateway, verb: str, path: str
) -> None:
    """501 with the word of all that is not offered, not "no such path"."""
    for given in (path, path + "/"):
        status, headers, body = await ask(gateway, verb, given, data=b"{}")
        assert (status, headers["Warmroute-Error"]) == (501, "unsupported"), given
        assert "not offered by this server" in json.loads(body)["error"]


@pytest.mark.parametrize(
    "path", ["/v2/models/org/model/infer", "/v2/models/mnist/predict", "/v2/repository/models/a/b"]
)
async def test_a_path_below_a_model_says_that_names_have_no_slash(
    gateway: RunningGateway, path: str
) -> None:
    """404, like other paths that there are not."""
    status, headers, body = await ask(gateway, "POST", path)
    assert (status, headers["Warmroute-Error"]) == (404, "not_found")
    assert "a name has no slash" in json.loads(body)["error"]


async def test_the_models_can_be_listed(gateway: RunningGateway) -> None:
    """What the index says."""
    _, _, listed = await ask(gateway, "GET", "/v2/models")
    _, _, index = await ask(gateway, "POST", "/v2/repository/index")
    assert json.loads(listed) == json.loads(index) != []


async def test_the_configuration_is_the_manifests(gateway: RunningGateway) -> None:
    """In Triton's words: without the batch, which has a limit of its own."""
    status, _, body = await ask(gateway, "GET", "/v2/models/mnist/config")
    assert status == 200
    assert json.loads(body) == {
        "name": "mnist", "platform": "pytorch_program", "backend": "pytorch", "max_batch_size": 4,
        "input": [
            {"name": "x", "data_type": "TYPE_FP32", "dims": [2], "format": "FORMAT_NONE",
             "optional": False},
        ],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [2]}],
    }  # fmt: skip


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "nonsense"])
async def test_an_encoding_that_is_not_offered_is_refused_as_that(
    gateway: RunningGateway, coding: str
) -> None:
    """With those that are, and the connection goes on."""
    given = {"data": b"x", "headers": {"Content-Encoding": coding}}
    status, headers, body = await ask(gateway, "POST", INFER, **given)
    assert (status, headers["Warmroute-Error"]) == (501, "unsupported")
    assert headers["Accept-Encoding"] == "gzip, deflate"
    assert "Content-Encoding" in json.loads(body)["error"]


@pytest.mark.parametrize("length", ["9" * 5000, "9" * 14, "\u0669".encode().decode("latin-1"), "x"])
async def test_a_header_that_is_no_length_is_no_fault_of_ours(
    gateway: RunningGateway, length: str
) -> None:
    """Also where the timeout in the body is read before the model is known."""
    given = {"data": BODY, "headers": {"Inference-Header-Content-Length": length}}
    for path, said in ((INFER, 400), (INFER.replace("mnist", "nobody"), 404)):
        status, headers, body = await ask(gateway, "POST", path, **given)
        assert (status, headers["Warmroute-Error"]) == (said, STATUS_WORDS[said])
        assert "internal" not in json.loads(body)["error"]


async def test_an_empty_body_is_told_to_be(gateway: RunningGateway) -> None:
    """Not that it was cut off."""
    status, _, body = await ask(gateway, "POST", INFER, data=b"")
    assert status == 400 and "empty" in json.loads(body)["error"]


async def test_a_compressed_body_is_read(gateway: RunningGateway, cell: Cell) -> None:
    """x-gzip is gzip; identity is nothing."""
    epoch = await cell.worker(holds=[await gateway.ref()])
    for coding, body in (("x-gzip", gzip.compress(BODY)), ("identity", BODY)):
        given = {"data": body, "headers": {"Content-Encoding": coding}}
        call = asyncio.create_task(ask(gateway, "POST", INFER, **given))
        await wait_until(lambda: gateway.waiting == 1)
        await answer_all(cell, epoch)
        assert (await call)[0] == 200, coding


async def test_a_deadline_below_a_millisecond_has_passed(
    gateway: RunningGateway, cell: Cell
) -> None:
    """Always, warm or cold; nothing of it is placed."""
    await cell.worker(holds=[await gateway.ref()])
    for us in (1, 999):
        body = json.dumps({**json.loads(BODY), "parameters": {"timeout": us}})
        status, headers, _ = await ask(gateway, "POST", INFER, data=body)
        assert (status, headers["Warmroute-Error"]) == (504, "expired")
    assert await cell.client.xlen(cell.keys.work("w1")) == 0


@pytest.mark.parametrize("name", ["config", "file:1/model.onnx"])
async def test_a_load_does_not_change_the_model(gateway: RunningGateway, name: str) -> None:
    """A version never changes: 501 with the way out."""
    body = json.dumps({"parameters": {name: "{}"}})
    path = "/v2/repository/models/mnist/load"
    headers = {"Content-Type": "application/json"}
    status, headers, said = await ask(gateway, "POST", path, data=body, headers=headers)
    assert (status, headers["Warmroute-Error"]) == (501, "unsupported")
    assert f"parameters.{name}" in json.loads(said)["error"]


async def test_an_id_in_capitals_is_the_same_id(gateway: RunningGateway) -> None:
    """Hex digits have no case."""
    _, headers, _ = await gateway.infer(Prefer="respond-async")
    request_id = headers["Warmroute-Request-Id"]
    assert (await gateway.get(f"/v2/requests/{request_id.upper()}"))[2]["id"] == request_id
    assert (await ask(gateway, "DELETE", f"/v2/requests/{request_id.upper()}"))[0] == 204
