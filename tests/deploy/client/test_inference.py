"""Datatypes that a client remembers, and what it does when they are the model's no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from aiohttp import web

from warmroute import Client, Expired, InvalidInput, Rejected, TimedOut

if TYPE_CHECKING:
    from tests.deploy.client.conftest import MakeClient
    from tests.deploy.conftest import Stub

INFER = ("POST", "/v2/models/m/infer")


class Model:
    """The model `m` of the stub gateway: what it takes can change, as with a new version."""

    def __init__(self, stub: Stub) -> None:
        self.inputs = {"x": "FP32"}
        self.taken: list[dict[str, str]] = []
        self._stub = stub
        stub.answer("GET", "/v2/models/m", self._metadata)
        stub.answer(*INFER, self._infer)

    async def _metadata(self, request: web.Request) -> web.Response:
        specs = [{"name": n, "datatype": d, "shape": [-1]} for n, d in self.inputs.items()]
        return web.json_response({"name": "m", "inputs": specs, "outputs": []})

    async def _infer(self, request: web.Request) -> web.Response:
        length = int(request.headers["Inference-Header-Content-Length"])
        header: dict[str, Any] = msgspec.json.decode((await request.read())[:length])
        given = {tensor["name"]: tensor["datatype"] for tensor in header["inputs"]}
        if given != self.inputs:
            return web.json_response({"error": f"want {self.inputs}"}, status=400)
        self.taken.append(given)
        return self._stub.outputs({"y": np.ones(1, np.float32)})


@pytest.fixture
def model(stub: Stub) -> Model:
    return Model(stub)


@pytest.mark.parametrize(
    ("datatype", "value"), [("INT64", [1, 2]), ("BYTES", "text"), ("INT64", 5), ("FP64", [0.1])]
)
def test_a_new_version_may_take_another_datatype(
    model: Model, client: Client, datatype: str, value: Any
) -> None:
    """The client that asked the old one asks the new one."""
    client.infer("m", {"x": [1.0]})
    model.inputs = {"x": datatype}
    client.infer("m", {"x": value})
    client.infer("m", {"x": value})
    assert [taken["x"] for taken in model.taken] == ["FP32", datatype, datatype]


def test_a_float64_array_becomes_what_the_model_takes_if_that_is_exact(
    model: Model, client: Client
) -> None:
    """Else the error says how to round it."""
    client.infer("m", {"x": np.array([0.5, 2.0])})
    with pytest.raises(InvalidInput, match=r"0.1 at \[1\].*astype\(np.float32\)"):
        client.infer("m", {"x": np.array([0.5, 0.1])})
    assert len(model.taken) == 1


def test_one_input_needs_no_name(model: Model, client: Client) -> None:
    """Two do."""
    client.infer("m", np.float32([1]))
    client.infer("m", [1.0])
    model.inputs = {"a": "FP32", "b": "FP32"}
    with pytest.raises(InvalidInput, match="a, b"):
        client.infer("m", [1.0])


def test_a_refusal_for_another_reason_is_asked_for_once(
    stub: Stub, model: Model, make_client: MakeClient
) -> None:
    """What would be sent again is the same."""
    with make_client(stub.url) as client, pytest.raises(Rejected, match="want"):
        client.infer("m", {"z": np.float32([1])})
    assert [path for method, path, _, _ in stub.seen if method == "POST"] == [INFER[1]]


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), -1.0, "soon"])
def test_a_time_that_is_none_is_refused_before_anything_is_sent(
    stub: Stub, client: Client, timeout: Any
) -> None:
    """Not a number, endless, negative, text."""
    with pytest.raises(InvalidInput, match="timeout"):
        client.infer("m", {"x": np.float32([1])}, timeout=timeout)
    assert stub.seen == []


def test_outputs_and_parameters_that_are_no_json_are_named(client: Client) -> None:
    """Not a traceback of the encoder."""
    with pytest.raises(InvalidInput, match="parameters"):
        client.infer("m", {"x": np.float32([1])}, parameters={"a": object()})  # type: ignore[dict-item]


def test_an_id_and_an_address_are_text(client: Client) -> None:
    """What is something else is named, before it is part of a path."""
    with pytest.raises(InvalidInput, match="request None"):
        client.pending(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="gateway 5"):
        Client(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["two\nlines", "snow\N{SNOWMAN}"])
def test_a_key_that_no_header_can_hold_is_refused(client: Client, key: str) -> None:
    """HTTP has no form for it."""
    with pytest.raises(InvalidInput):
        client.infer("m", {"x": np.float32([1])}, idempotency_key=key)


def test_a_deadline_that_passed_at_the_server_is_timed_out(stub: Stub, client: Client) -> None:
    """504: an error of the server, and of time."""

    async def late(request: web.Request) -> web.Response:
        return web.json_response({"error": "the deadline passed"}, status=504)

    stub.answer(*INFER, late)
    with pytest.raises(TimedOut, match="deadline") as caught:
        client.infer("m", {"x": np.float32([1])})
    assert isinstance(caught.value, Expired) and caught.value.status == 504
