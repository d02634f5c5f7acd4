"""The parts of the soak: who asks, who acts, and what must hold."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import uvloop

from deploy.bench.cases.crowds import Crowd
from deploy.bench.history import Stay
from deploy.bench.posts import binary_post
from deploy.bench.soak.acting import Actor, Promise
from deploy.bench.soak.asking import Asked, ask_all
from deploy.bench.soak.checks import broken_promises, loaded_twice_at_once
from tests.deploy.bench.conftest import RawServer

REF = "a:1:0123"
TENSORS = {"x": np.ones((1, 2), np.float32)}


class FakeOperator:
    """Answers every call with what the test says for its method and last part of the path."""

    def __init__(self, answers: dict[str, tuple[int, Any]]) -> None:
        self.answers = answers
        self.calls: list[str] = []

    def call(self, method: str, path: str, document: Any = None) -> tuple[int, Any]:
        self.calls.append(f"{method} {path}")
        what = f"{method} {path.rpartition('/')[2]}"
        return self.answers.get(what, (200, {"id": "s1"}))


def acted(answers: dict[str, tuple[int, Any]], times: int = 200) -> tuple[Actor, FakeOperator]:
    operator = FakeOperator(answers)
    actor = Actor(operator, ["a", "b", "c"], random.Random(1))
    for _ in range(times):
        actor.act()
    return actor, operator


def test_an_actor_does_everything_and_takes_all_back() -> None:
    """Never more than so many pins at a time, and every promise has an end."""
    actor, _ = acted({})
    actor.release()
    assert set(actor.done) == {
        "load", "unload", "pin", "unpin", "open a session", "close a session"
    }  # fmt: skip
    assert actor.done["pin"] == actor.done["unpin"]
    assert actor.faults == []
    assert all(one.since <= one.until < float("inf") for one in actor.promises)


def test_a_door_that_is_not_there_is_tried_once() -> None:
    """And is told."""
    actor, operator = acted({"PUT policy": (404, {"error": "no such path"})})
    assert actor.done["pin: no such door"] == 1
    assert sum(call.startswith("PUT") for call in operator.calls) == 1
    assert all(promise.kind == "session" for promise in actor.promises)


@pytest.mark.parametrize(
    ("answer", "faulty"), [((409, {"error": "pinned"}), False), ((500, {"error": "oh"}), True)]
)
def test_only_a_clear_refusal_is_none_of_its_faults(answer: tuple[int, Any], faulty: bool) -> None:
    """A conflict is an answer; a failure is a fault."""
    actor, _ = acted({"POST unload": answer})
    assert bool(actor.faults) is faulty
    assert bool(actor.done["unload: refused 409"]) is not faulty


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
    """At the same time; one after the other is no fault."""
    first = Stay(REF, "w1", 1_000, 2_000)
    assert loaded_twice_at_once([first, Stay(REF, "w2", 1_500, 2_500)]) != []
    assert loaded_twice_at_once([first, Stay(REF, "w2", 2_500, 3_500)]) == []


def asked(server: RawServer, head: str, body: bytes = b"{}") -> Asked:
    lines = f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n"
    server.pieces = [lines.encode() + body]
    crowd = Crowd((), [binary_post("a", TENSORS)], [TENSORS])
    named = Named(crowd.samples, crowd.posts, crowd.expected)
    return uvloop.run(ask_all(server.port, named, iter([0, 0]), 1))


class Named(Crowd):
    @property
    def names(self) -> Sequence[str]:
        return ["a"]


def test_a_refusal_with_a_word_is_counted_by_it(server: RawServer) -> None:
    """It is none of the faults."""
    found = asked(server, "429 Too Many Requests\r\nWarmroute-Error: overloaded")
    assert (found.refused, found.faults, found.ended) == ({"overloaded": 2}, [], 2)


@pytest.mark.parametrize("head", ["429 Too Many Requests", "500 Oh\r\nWarmroute-Error: bug"])
def test_any_other_failure_is_a_fault(server: RawServer, head: str) -> None:
    """A refusal without a word too."""
    assert len(asked(server, head).faults) == 2


def test_a_request_without_an_answer_is_a_fault(server: RawServer) -> None:
    """The rest are asked all the same."""
    server.pieces = []
    crowd = Named((), [binary_post("a", TENSORS)], [TENSORS])
    found = uvloop.run(ask_all(server.port, crowd, iter([0, 0]), 1))
    assert (len(found.faults), found.ended) == (2, 2)
