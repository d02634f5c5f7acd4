"""Submit, poll and cancel over real HTTP against a stub gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from aiohttp import web

from warmroute import Client, Gone, RequestFailed, TimedOut

if TYPE_CHECKING:
    from tests.deploy.client.conftest import MakeClient
    from tests.deploy.conftest import Stub

ID = "0123456789abcdef0123456789abcdef"
Answers = list[Callable[[], web.Response]]


@pytest.fixture
def answers(stub: Stub) -> Answers:
    """What the polls of request ID are told, in order; the last one again and again."""
    script: Answers = []

    async def accept(request: web.Request) -> web.Response:
        headers = {"Location": f"/v2/requests/{ID}"}
        return web.json_response({"id": ID, "status": "queued"}, status=202, headers=headers)

    async def poll(request: web.Request) -> web.Response:
        return (script.pop(0) if len(script) > 1 else script[0])()

    stub.answer("POST", "/v2/models/m/infer", accept)
    stub.answer("GET", f"/v2/requests/{ID}", poll)
    return script


def says(state: str, error: str | None = None) -> Callable[[], web.Response]:
    document = {"id": ID, "status": state, "model": "m"} | ({"error": error} if error else {})
    return lambda: web.json_response(document)


def refuses(status: int, code: str = "") -> Callable[[], web.Response]:
    headers = {"Warmroute-Error": code}
    return lambda: web.json_response({"error": "no"}, status=status, headers=headers)


def test_submit_then_result_waits_until_the_request_has_ended(
    stub: Stub, client: Client, answers: Answers
) -> None:
    """Polls are answered queued and running, then with the binary result."""
    done = lambda: stub.outputs({"output": np.float32([6])})  # noqa: E731 one line says it
    answers += [says("queued"), says("running"), done]
    pending = client.submit("m", {"x": np.zeros(1)})
    assert pending.id == ID
    assert stub.seen[0][2]["Prefer"] == "respond-async"
    np.testing.assert_array_equal([6], pending.result(timeout=10)["output"])


def test_result_outlives_a_gateway_that_is_replaced(
    stub: Stub, make_client: MakeClient, answers: Answers
) -> None:
    """A poll answered 503 in between does not lose the outcome."""
    answers += [refuses(503), lambda: stub.outputs({"output": np.float32([1])})]
    with make_client(stub.url, retries=0) as impatient:
        assert impatient.pending(ID).result(timeout=10)["output"][0] == 1


@pytest.mark.parametrize("state", ["failed", "cancelled", "expired"])
def test_a_request_that_ended_otherwise_raises_with_its_state_and_cause(
    client: Client, answers: Answers, state: str
) -> None:
    """RequestFailed has the terminal state and the server's message."""
    answers.append(says(state, error="the cause"))
    with pytest.raises(RequestFailed, match="the cause") as caught:
        client.pending(ID).result()
    assert (ID, state) == (caught.value.request_id, caught.value.state)


def test_result_gives_up_after_the_callers_time(client: Client, answers: Answers) -> None:
    """TimedOut, and the request stays where it is."""
    answers.append(says("queued"))
    pending = client.pending(ID)
    with pytest.raises(TimedOut):
        pending.result(timeout=0.2)
    assert pending.status() == "queued"


def test_an_outcome_that_is_no_longer_kept_is_gone(client: Client, answers: Answers) -> None:
    """By the code of the 404; Gone is raised at once."""
    answers.append(refuses(404, "gone"))
    with pytest.raises(Gone):
        client.pending(ID).result()


@pytest.mark.parametrize(("code", "cancelled"), [(204, True), (409, False)])
def test_cancel_tells_whether_it_was_in_time(
    stub: Stub, client: Client, code: int, cancelled: bool
) -> None:
    """409 means that the request had ended before."""

    async def delete(request: web.Request) -> web.Response:
        return web.Response(status=code) if code == 204 else refuses(code)()

    stub.answer("DELETE", f"/v2/requests/{ID}", delete)
    assert cancelled == client.pending(ID).cancel()
