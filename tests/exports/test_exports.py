"""Exporter by format: what `push` accepts answers as the library does that wrote the file.

Each entry is pushed by the command line, asked alone in several sizes, and then by sixteen callers
at once, each with rows of its own.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.cli.main import main
from tests.exports import batch_exports, other_exports, torch_exports
from tests.exports.export import Case, Export, assert_equal
from tests.helpers.stack import Stack

CASES = [*torch_exports.CASES, *other_exports.CASES, *batch_exports.CASES]
CALLERS = 16

pytestmark = pytest.mark.timeout(300)


def test_the_table_is_large_enough() -> None:
    assert len(CASES) >= 40
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_answers_as_the_original_does(case: Case, stack: Stack, tmp_path: Path) -> None:
    made = case.make(tmp_path)
    assert main(["push", case.name, *map(str, made.push)]) == 0
    for asked in made.questions:
        got = stack.client().infer(case.name, asked).outputs
        assert_equal(got, made.original(asked), made.tolerance)
    ask_at_once(case.name, made, stack)


def ask_at_once(name: str, made: Export, stack: Stack) -> None:
    """Sixteen callers, each row a request; every answer is that of its own row."""
    with ThreadPoolExecutor(CALLERS) as callers:
        client = stack.client()
        answers = list(callers.map(lambda asked: client.infer(name, asked).outputs, made.rows))
    for asked, got in zip(made.rows, answers, strict=True):
        assert_equal(got, made.original(asked), made.tolerance)
