"""W3C Trace Context: what a caller's tracer says goes along with the request to the worker."""

from __future__ import annotations

import pytest

from tests.helpers.models import Slow
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BODY = b'{"inputs": [{"name": "steps", "datatype": "INT64", "shape": [1], "data": [1]}]}'


@pytest.mark.parametrize(
    ("header", "carried"),
    [
        pytest.param(GIVEN, GIVEN, id="valid"),
        pytest.param(GIVEN.upper(), "", id="upper case"),
        pytest.param("00-" + "0" * 32 + "-00f067aa0ba902b7-01", "", id="no trace"),
        pytest.param("x" * 5000, "", id="garbage"),
        pytest.param(None, "", id="none"),
    ],
)
def test_a_valid_traceparent_is_carried_to_the_worker(
    stack: Stack, slow: Slow, header: str | None, carried: str
) -> None:
    """Read off the work stream, while the request waits behind another. A bad one is left out."""
    client = stack.client()
    worker = str(client.infer(slow.name, slow.question(0.01)).worker)
    headers = {"Prefer": "respond-async", **({"traceparent": header} if header else {})}
    with slow.holding() as question:
        client.submit(slow.name, question)

        accepted = stack.http("POST", f"/v2/models/{slow.name}/infer", BODY, headers)

        assert accepted.status == 202
        assert stack.waiting(worker)[-1].traceparent == carried
    block_until(lambda: stack.waiting(worker) == [])
