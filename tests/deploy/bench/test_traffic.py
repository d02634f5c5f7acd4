"""The parts of the soak: callers, an operator, and what must hold."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from aiohttp import web

from deploy.bench.history import Stay, broken_promises, loaded_twice_at_once
from deploy.bench.traffic import Asked, Operator, Promise, Question, ask_all
from warmroute import Client, ServerError

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub

REF = "a:1:0123"
QUESTION = Question("a", {"x": np.float32([1])}, {"y": np.float32([7])})


class FakeClient:
    """Does every call, unless the test says what it raises."""

    def __init__(self, **raised: Exception) -> None:
        self._raised = raised

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: object, **options: object) -> Any:
            if name in self._raised:
                raise self._raised[name]
            return self

        return call

    id = "s1"


def acted(client: FakeClient, times: int = 200) -> Operator:
    operator = Operator(client, ["a", "b", "c"], random.Random(1))  # type: ignore[arg-type]
    for _ in range(times):
        operator.act()
    return operator


def test_an_operator_does_everything_and_takes_all_back() -> None:
    """Never more than so many pins at a time, and every promise has an end."""
    operator = acted(FakeClient())
    operator.release()
    assert set(operator.done) == {
        "load", "unload", "pin", "unpin", "open a session", "close a session"
    }  # fmt: skip
    assert operator.done["pin"] == operator.done["unpin"]
    assert operator.faults == []
    assert all(one.since <= one.until < float("inf") for one in operator.promises)


@pytest.mark.parametrize(
    ("error", "faulty"),
    [
        (ServerError("pinned", status=409, code="conflict"), False),
        (ServerError("oh", status=500, code="internal"), True),
        (ServerError("still held", status=504, code="expired"), True),  # an unload ends
        (ServerError("busy", status=503), True),  # without a code
    ],
)
def test_only_a_clear_refusal_is_not_a_fault(error: ServerError, faulty: bool) -> None:
    """A conflict is an answer; a failure is a fault."""
    operator = acted(FakeClient(unload=error))
    assert bool(operator.faults) is faulty
    assert bool(operator.done["unload: refused 409"]) is not faulty


def pinned(kind: str = "pin") -> list[Promise]:
    return [Promise("a", kind, 1_000, 5_000)]


def stay(went_from: float, until: float, worker: str = "w1", since: float = 0) -> Stay:
    return Stay(REF, worker, since, since, until, went_from, "room for b")


@pytest.mark.parametrize(
    ("copy", "broken"),
    [
        (stay(2_000, 2_100), True),
        (stay(900, 1_100), False),  # it was on its way before
        (stay(1_020, 1_100), False),  # or its event was written late
        (stay(5_100, 5_200), False),
        (stay(4_900, 5_100), False),  # it may have begun when the pin had ended
    ],
)
def test_a_pinned_copy_that_goes_is_a_broken_promise(copy: Stay, broken: bool) -> None:
    """If its eviction began and ended while it was pinned; not that of another model."""
    assert bool(broken_promises([copy], pinned())) is broken
    assert broken_promises([copy], [Promise("b", "pin", 1_000)]) == []


def test_a_session_keeps_the_last_copy() -> None:
    """One of two may go; a pin keeps both."""
    two = [stay(2_000, 2_100), stay(float("inf"), float("inf"), "w2")]
    assert broken_promises(two, pinned("session")) == []
    assert len(broken_promises(two, pinned())) == 1
    assert len(broken_promises(two[:1], pinned("session"))) == 1


def test_two_workers_that_load_one_model_are_found() -> None:
    """At the same time; one after the other is allowed."""
    first = Stay(REF, "w1", 1_000, 2_000)
    assert loaded_twice_at_once([first, Stay(REF, "w2", 1_500, 2_500)]) != []
    assert loaded_twice_at_once([first, Stay(REF, "w2", 2_500, 3_500)]) == []


def asked(stub: Stub, client: Client, answer: Any) -> Asked:
    async def infer(request: web.Request) -> web.Response:
        return answer()

    stub.answer("POST", "/v2/models/a/infer", infer)
    return ask_all(client, [QUESTION, QUESTION], 2)


def test_a_right_answer_is_counted_and_a_wrong_one_is_a_fault(stub: Stub, client: Client) -> None:
    """To rounding."""
    found = asked(stub, client, lambda: stub.outputs({"y": np.float32([7])}))
    assert (found.right, found.faults, found.ended) == (2, [], 2)
    found = asked(stub, client, lambda: stub.outputs({"y": np.float32([8])}))
    assert (found.right, len(found.faults)) == (0, 2)


@pytest.mark.parametrize(
    ("status", "code", "faulty"),
    [(429, "overloaded", False), (429, "", True), (500, "bug", True)],
)
def test_a_refusal_is_counted_by_its_code(
    stub: Stub, client: Client, status: int, code: str, faulty: bool
) -> None:
    """Any other failure is a fault, and a refusal without a code too."""
    headers = {"Warmroute-Error": code} if code else {}
    found = asked(stub, client, lambda: web.Response(status=status, headers=headers))
    assert dict(found.refused) == ({} if faulty else {code: 2})
    assert (len(found.faults), found.ended) == (2 if faulty else 0, 2)
