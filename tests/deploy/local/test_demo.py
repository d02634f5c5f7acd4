"""The questions to the sample models, over HTTP against a stub gateway."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from aiohttp import web
from rich.console import Console

from deploy.local.demo import Row, ask_all, table
from warmroute import Client

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub


class Seven:
    """A sample whose right answer is 7."""

    def __init__(self, name: str) -> None:
        self.name = name

    def sample_request(self) -> dict[str, np.ndarray]:
        return {"x": np.float32([1])}

    def say(self, outputs: dict[str, np.ndarray]) -> str:
        return f"it is {outputs['y'][0]:g}"

    def right(self, outputs: dict[str, np.ndarray]) -> bool:
        return bool(outputs["y"][0] == 7)


def answering(stub: Stub, name: str, *values: float) -> None:
    """Model `name` answers these values in turn, the first of them cold."""
    left = list(values)

    async def infer(request: web.Request) -> web.Response:
        cold = "true" if len(left) == len(values) else "false"
        return stub.outputs({"y": np.float32([left.pop(0)])}, cold=cold, worker="w1")

    stub.answer("POST", f"/v2/models/{name}/infer", infer)


def test_each_model_is_asked_cold_then_warm_and_both_answers_are_checked(
    stub: Stub, client: Client
) -> None:
    """A row has both times, the words and the worker; a wrong second answer is not right."""
    answering(stub, "good", 7, 7)
    answering(stub, "bad", 7, 8)
    shown: list[tuple[str, int, int]] = []
    rows = ask_all(client, [Seven("good"), Seven("bad")], lambda *step: shown.append(step))
    assert [(row.model, row.said, row.right) for row in rows] == [
        ("good", "it is 7", True),
        ("bad", "it is 8", False),
    ]
    assert rows[0].cold_ms is not None
    assert rows[0].warm_ms is not None
    assert rows[0].worker == "w1"
    assert shown == [("good", 0, 2), ("bad", 1, 2)]


def test_a_model_that_fails_is_a_row_and_the_next_is_still_asked(
    stub: Stub, client: Client
) -> None:
    """The server's message stands where the answer would."""
    answering(stub, "good", 7, 7)
    rows = ask_all(client, [Seven("gone"), Seven("good")], lambda *step: None)
    assert (rows[0].said, rows[0].right) == ("failed: Not Found", False)
    assert rows[1].right


def test_a_model_that_was_in_memory_already_has_no_cold_time(stub: Stub, client: Client) -> None:
    """The first answer was warm: there is nothing to show as cold."""

    async def infer(request: web.Request) -> web.Response:
        return stub.outputs({"y": np.float32([7])}, cold="false", worker="w1")

    stub.answer("POST", "/v2/models/warm/infer", infer)
    (row,) = ask_all(client, [Seven("warm")], lambda *step: None)
    assert (row.cold_ms, row.right) == (None, True)


def test_the_table_has_a_line_per_model_and_marks_what_is_wrong() -> None:
    """In words, not only in colour."""
    rows = [
        Row("crepe", "440 Hz -> A4", True, cold_ms=1234.56, warm_ms=3.21, worker="w1"),
        Row("magika", "a cat", False),
    ]
    console = Console(file=io.StringIO(), width=100)
    console.print(table(rows))
    text = console.file.getvalue()
    assert "crepe" in text
    assert "1,234.6" in text
    assert "WRONG: a cat" in text
