"""The client over real HTTP against a stub gateway."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from aiohttp import web

from warmroute import (
    Client,
    ConnectionFailed,
    KeyReused,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    Rejected,
    ServerError,
)

if TYPE_CHECKING:
    from tests.deploy.client.conftest import MakeClient
    from tests.deploy.conftest import Stub

ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def double(stub: Stub) -> None:
    """A model that gives back twice its FP32 input."""

    async def infer(request: web.Request) -> web.Response:
        length = int(request.headers["Inference-Header-Content-Length"])
        array = np.frombuffer((await request.read())[length:], "<f4")
        return stub.outputs({"output": array * 2}, worker="w1", cold="true", request_id=ID)

    async def metadata(request: web.Request) -> web.Response:
        spec = {"name": "input", "datatype": "FP32", "shape": [-1]}
        return web.json_response({"name": "double", "inputs": [spec], "outputs": []})

    stub.answer("POST", "/v2/models/double/infer", infer)
    stub.answer("GET", "/v2/models/double", metadata)


@pytest.mark.usefixtures("double")
def test_infer_gives_outputs_by_name_and_tells_which_worker_ran_it(client: Client) -> None:
    """A result is a mapping of arrays that also says worker, cold and request id."""
    result = client.infer("double", {"input": np.array([1, 2], np.float32)})
    np.testing.assert_array_equal(result["output"], [2, 4])
    assert dict(result).keys() == {"output"}
    assert (
        result.worker,
        result.cold,
        result.request_id,
        result.version,
    ) == ("w1", True, ID, "1")


@pytest.mark.usefixtures("double")
def test_lists_take_the_datatype_that_the_model_declares(stub: Stub, client: Client) -> None:
    """Python floats become FP32 for an FP32 model, and its metadata is asked for only once."""
    for _ in range(2):
        np.testing.assert_array_equal(client.infer("double", {"input": [1, 2.5]})["output"], [2, 5])
    asked = [path for method, path, _, _ in stub.seen if method == "GET"]
    assert asked == ["/v2/models/double"]


@pytest.mark.usefixtures("double")
def test_timeout_becomes_the_requests_deadline_in_microseconds(stub: Stub, client: Client) -> None:
    """The server learns how long the caller will wait."""
    client.infer("double", {"input": np.zeros(1, np.float32)}, timeout=15)
    _, _, headers, body = stub.seen[-1]
    header = msgspec.json.decode(body[: int(headers["Inference-Header-Content-Length"])])
    assert header["parameters"]["timeout"] == 15_000_000


def test_version_and_odd_names_are_quoted_into_the_path(stub: Stub, client: Client) -> None:
    """A name with a slash stays one path segment, so the server can refuse it by name."""
    with pytest.raises(NotFound) as caught:
        client.infer("a/b", {"x": np.zeros(1)}, version=3)
    assert caught.value.status == 404
    assert stub.seen[-1][1] == "/v2/models/a%2Fb/versions/3/infer"


def test_server_errors_carry_status_and_the_servers_words(stub: Stub, client: Client) -> None:
    """400 is Rejected with the message of the error body; 500 is a plain ServerError."""

    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"error": "input 'x': shape"}, status=400)

    async def broken(request: web.Request) -> web.Response:
        return web.Response(text="boom", status=500)

    stub.answer("POST", "/v2/models/m/infer", refuse)
    with pytest.raises(Rejected, match="input 'x': shape") as caught:
        client.infer("m", {"x": np.zeros(1)})
    assert caught.value.status == 400
    stub.answer("POST", "/v2/models/m/infer", broken)
    with pytest.raises(ServerError, match="boom"):
        client.infer("m", {"x": np.zeros(1)})


@pytest.mark.usefixtures("double")
def test_overload_is_tried_again_after_the_time_the_server_asked_for(
    stub: Stub, client: Client
) -> None:
    """429 with Retry-After, then an answer: the caller sees the answer."""
    infer = stub._routes["POST", "/v2/models/double/infer"]
    tries = 0

    async def first_full(request: web.Request) -> web.Response:
        nonlocal tries
        tries += 1
        if tries == 1:
            return web.json_response({"error": "full"}, status=429, headers={"Retry-After": "0"})
        return await infer(request)

    stub.answer("POST", "/v2/models/double/infer", first_full)
    assert client.infer("double", {"input": np.ones(1, np.float32)})["output"][0] == 2.0
    assert tries == 2


def test_without_retries_overload_is_raised_with_its_retry_after(
    stub: Stub, make_client: MakeClient
) -> None:
    """The error tells when to come back."""

    async def full(request: web.Request) -> web.Response:
        return web.json_response({"error": "full"}, status=503, headers={"Retry-After": "7"})

    stub.answer("POST", "/v2/models/m/infer", full)
    with make_client(stub.url, retries=0) as client, pytest.raises(Overloaded) as caught:
        client.infer("m", {"x": np.zeros(1)})
    assert (caught.value.retry_after_s, len(stub.seen)) == (7.0, 1)


def test_a_post_whose_connection_broke_is_not_sent_twice(stub: Stub, client: Client) -> None:
    """It may have been accepted; only the caller can decide."""

    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    stub.answer("POST", "/v2/models/m/infer", hang_up)
    with pytest.raises(ConnectionFailed):
        client.infer("m", {"x": np.zeros(1)})
    assert len(stub.seen) == 1


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("how", ["hangs up", "does not know"])
def test_with_a_key_a_call_whose_answer_was_lost_is_made_again(
    stub: Stub, client: Client, how: str
) -> None:
    """Under the same key, so that nothing runs twice."""
    infer = stub._routes["POST", "/v2/models/double/infer"]

    async def lost(request: web.Request) -> web.Response:
        stub.answer("POST", "/v2/models/double/infer", infer)
        if how == "does not know":
            headers = {"Warmroute-Error": "outcome_unknown", "Retry-After": "0"}
            return web.json_response({"error": "unknown"}, status=503, headers=headers)
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    stub.answer("POST", "/v2/models/double/infer", lost)
    result = client.infer("double", {"input": np.ones(1, np.float32)}, idempotency_key="k")
    assert result["output"][0] == 2.0
    assert [headers["Idempotency-Key"] for _, _, headers, _ in stub.seen] == ["k", "k"]


def test_without_a_key_an_unknown_outcome_is_the_callers_to_judge(
    stub: Stub, client: Client
) -> None:
    """A second call might be a second request."""

    async def unknown(request: web.Request) -> web.Response:
        headers = {"Warmroute-Error": "outcome_unknown", "Retry-After": "0"}
        return web.json_response({"error": "unknown"}, status=503, headers=headers)

    stub.answer("POST", "/v2/models/m/infer", unknown)
    with pytest.raises(OutcomeUnknown) as caught:
        client.infer("m", {"x": np.zeros(1)})
    assert (caught.value.code, len(stub.seen)) == ("outcome_unknown", 1)


def test_a_key_of_another_request_has_an_error_of_its_own(stub: Stub, client: Client) -> None:
    """422 is also what a broken model says."""

    async def reused(request: web.Request) -> web.Response:
        headers = {"Warmroute-Error": "key_reused"}
        return web.json_response({"error": "reused"}, status=422, headers=headers)

    stub.answer("POST", "/v2/models/m/infer", reused)
    with pytest.raises(KeyReused):
        client.submit("m", {"x": np.zeros(1)}, idempotency_key="k")


def test_when_a_gateway_stops_the_answer_comes_from_another(stub: Stub, client: Client) -> None:
    """202 in place of an answer: the caller of `infer` need not know."""

    async def handed_over(request: web.Request) -> web.Response:
        headers = {"Location": f"/v2/requests/{ID}"}
        return web.json_response({"id": ID, "status": "queued"}, status=202, headers=headers)

    async def outcome(request: web.Request) -> web.Response:
        return stub.outputs({"output": np.ones(1, np.float32)}, worker="w1")

    stub.answer("POST", "/v2/models/m/infer", handed_over)
    stub.answer("GET", f"/v2/requests/{ID}", outcome)
    assert client.infer("m", {"x": np.zeros(1)})["output"][0] == 1.0


def test_no_gateway_is_an_error_that_names_the_address(make_client: MakeClient) -> None:
    """A closed port gives ConnectionFailed with the URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with make_client(url, retries=0) as client:
        with pytest.raises(ConnectionFailed, match=url):
            client.models()
        assert not client.ready()
