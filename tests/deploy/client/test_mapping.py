"""`map`: many inputs, a bounded number at once, results in their order. Both clients."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from aiohttp import web

from tests.helpers.wait import wait_until
from warmroute import Client, InvalidInput, Rejected, Result

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub


class Doubling:
    """The model `m`: twice its input, later for smaller numbers; 13 is refused."""

    def __init__(self, stub: Stub) -> None:
        self.running = self.most = self.answered = 0
        self.together = 1  # so many have to be there before the first is answered
        self._stub = stub
        stub.answer("POST", "/v2/models/m/infer", self._infer)

    async def _infer(self, request: web.Request) -> web.Response:
        length = int(request.headers["Inference-Header-Content-Length"])
        (value,) = np.frombuffer((await request.read())[length:], "<f4")
        self.running += 1
        self.most = max(self.most, self.running)
        await wait_until(lambda: self.most >= self.together)
        await asyncio.sleep(0.03 / (1 + value))
        self.running -= 1
        self.answered += 1
        if value == 13:
            return web.json_response({"error": "thirteen"}, status=400)
        return self._stub.outputs({"y": np.float32([value * 2])})


@pytest.fixture
def model(stub: Stub) -> Doubling:
    return Doubling(stub)


def inputs(count: int) -> list[dict[str, Any]]:
    return [{"x": np.float32([number])} for number in range(count)]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_results_come_in_the_order_of_the_inputs(
    model: Doubling, client: Client, concurrency: int
) -> None:
    """However long each takes, and no more at once than was said."""
    model.together = concurrency
    found = list(client.map("m", inputs(12), concurrency=concurrency))
    assert [result["y"][0] for result in found] == [2.0 * number for number in range(12)]
    assert model.most == concurrency


@pytest.mark.usefixtures("model")
def test_progress_is_reported_after_each_result(client: Client) -> None:
    """With the number of inputs where it is known."""
    said: list[tuple[int, int | None]] = []
    for results in (inputs(3), iter(inputs(2))):
        list(client.map("m", results, progress=lambda done, total: said.append((done, total))))
    assert said == [(1, 3), (2, 3), (3, 3), (1, None), (2, None)]


@pytest.mark.usefixtures("model")
def test_an_error_ends_it_or_stands_in_the_place_of_its_result(client: Client) -> None:
    """As the caller chooses."""
    found = list(client.map("m", inputs(15), errors="return"))
    assert [type(outcome) for outcome in found] == [Result] * 13 + [Rejected, Result]
    results = client.map("m", inputs(15))
    with pytest.raises(Rejected, match="thirteen"):
        for count, _ in enumerate(results):
            assert count < 13


def test_an_iterator_without_an_end_is_read_as_results_are_taken(
    model: Doubling, client: Client
) -> None:
    """And no further than the window."""
    read: list[int] = []

    def endless() -> Iterator[dict[str, Any]]:
        for number in itertools.count():
            read.append(number)
            yield {"x": np.float32([0])}

    results = client.map("m", endless(), concurrency=2)
    next(results)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert 2 <= len(read) <= 6 and model.answered <= 6


@pytest.mark.usefixtures("model")
def test_options_are_those_of_infer(stub: Stub, client: Client) -> None:
    """The same for every input."""
    list(client.map("m", inputs(2), timeout=15, outputs=["y"]))
    assert all(b'"timeout":15000000' in body and b'"outputs"' in body for *_, body in stub.seen)


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"errors": "ignore"}])
def test_a_wrong_argument_is_named(stub: Stub, client: Client, wrong: dict[str, Any]) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        list(client.map("m", inputs(1), **wrong))
    assert stub.seen == []


def test_threads_share_one_client(model: Doubling, client: Client) -> None:
    """Each has the answers to what it asked."""
    wrong: list[float] = []

    def ask(number: int) -> None:
        for _ in range(5):
            got = client.infer("m", {"x": np.float32([number])})["y"][0]
            wrong.extend([got] if got != 2 * number else [])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and model.answered == 40
