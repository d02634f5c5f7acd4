"""Each process is killed once at each of its failpoints, and nothing that was accepted suffers.

Gateway, device process and worker parent, at every point between two calls to Redis. Each time: the
process died there (its log line, its pid), every request that had been accepted came to one end,
that of plain numpy, and no key, lease or queue entry was left behind.
"""

from __future__ import annotations

import asyncio

import pytest

from shared.connection import open_redis
from tests.failpoints.asked import Count
from tests.failpoints.field import Field
from tests.failpoints.points import scripts_run
from tests.failpoints.table import Run, runs
from tests.helpers.leaks import leaked_keys

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
RUNS = list(runs())
ANSWERED = [run for run in RUNS if run.point in {f"{name}.after" for name in scripts_run()}]


@pytest.mark.parametrize("run", RUNS, ids=[f"{run.kind}-{run.point}" for run in RUNS])
def test_a_process_that_dies_here_loses_nothing(field: Field, count: Count, run: Run) -> None:
    """Accepted before, while and after; by 202 and by the stream door."""
    field.ready_device()
    try:
        pids = run.scenario(field, lambda more="": field.arm(run.kind, run.point, "kill", more))
        field.killed(run.point, pids)
        count.points += 1
    finally:
        field.disarm()
    check(field)


@pytest.mark.parametrize("run", ANSWERED, ids=[f"{run.kind}-{run.point}" for run in ANSWERED])
def test_an_answer_of_redis_that_is_lost_loses_nothing(
    field: Field, count: Count, run: Run
) -> None:
    """The script has run, and its caller hears that Redis does not answer: nothing is done twice,
    nothing is forgotten."""
    field.ready_device()
    try:
        pids = run.scenario(field, lambda more="": field.arm(run.kind, run.point, "raise", more))
        field.reached(run.point, pids, "raise")
        count.answers += 1
    finally:
        field.disarm()
    check(field)


def check(field: Field) -> None:
    """Whatever ended is there again, what was accepted came to its end, and nothing is left."""
    field.ready_device()
    field.ledger.check()
    assert leaks(field) == []


def leaks(field: Field) -> list[str]:
    """Keys that nobody will ever delete."""

    async def look() -> list[str]:
        client = open_redis(field.stack.redis_server.url)
        try:
            return await leaked_keys(client, field.stack.keys)
        finally:
            await client.aclose()

    return asyncio.run(look())
