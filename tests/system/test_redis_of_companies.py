"""Redis as companies run it: a user who may touch the keys of one cell only, and pauses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.contract.sources import ROOT
from tests.helpers.models import publish_mlp, publish_slow
from tests.helpers.stack import LEASE_S, Stack
from tests.helpers.wait import block_until
from tests.system.setup import open_stack

USER = "warmroute"
PAGE = ROOT / "deploy" / "docs" / "operations.md"


def documented_rules(cell: str) -> list[str]:
    """The rules that the page gives for a user, for this cell."""
    line = next(row for row in PAGE.read_text().splitlines() if row.startswith("ACL SETUSER"))
    return [word.strip("'").replace("{warmroute}", f"{{{cell}}}") for word in line.split()[3:]]


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[tuple[Stack, redis.Redis]]:
    """A cell whose processes are that user, and a client without limits."""
    with open_stack(tmp_path) as stack:
        with redis.Redis.from_url(stack.redis_server.url) as admin:
            admin.execute_command("ACL", "SETUSER", USER, *documented_rules("stack"))
            url = stack.redis_server.url.replace("redis://", f"redis://{USER}:PASSWORD@")
            stack.add_gateway(REDIS_URL=url)
            stack.add_worker(REDIS_URL=url)
            yield stack, admin


def test_a_user_limited_to_the_cell_runs_everything(limited: tuple[Stack, redis.Redis]) -> None:
    """Loads, calls, sessions and streams; what it may not write is a dead letter. Redis has
    refused nothing else."""
    stack, admin = limited
    mlp = publish_mlp(stack.repository, stack.folder)
    question = mlp.question()
    answer = stack.client().infer(mlp.name, question)
    assert mlp.right(question, answer["y"])
    body = '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, %d], "data": %s}]}'
    filled = body % (len(question["x"][0]), question["x"][0].tolist())
    mine = f"{stack.keys.answers}mine"
    for reply_to in (mine, "elsewhere"):
        admin.xadd(stack.keys.ingress, {"model": mlp.name, "reply_to": reply_to, "body": filled})
    block_until(lambda: admin.xlen(mine) == 1)
    block_until(lambda: admin.xlen(stack.keys.dead_letters) == 1)
    ((_, letter),) = admin.xrange(stack.keys.dead_letters)
    assert b"reply_to was refused" in letter[b"cause"]
    entries = [_texts(row) for row in admin.execute_command("ACL", "LOG")]
    refused = {(e["reason"], e["object"]) for e in entries if e["username"] == USER}
    names = {word.partition("|")[0] for reason, word in refused if reason == "command"}
    assert names <= {"config", "client"}  # what it asks for and can do without
    assert {word for reason, word in refused if reason != "command"} == {"elsewhere"}


def _texts(row: object) -> dict[str, str]:
    pairs = row.items() if isinstance(row, dict) else zip(row[::2], row[1::2], strict=True)  # type: ignore[index]
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def test_a_redis_that_pauses_longer_than_a_lease_restarts_nothing(tmp_path: Path) -> None:
    """Three times, while one request runs: it is started once, by a process that never died."""
    with open_stack(tmp_path) as stack:
        stack.scale(gateways=1, workers=2)
        slow = publish_slow(stack.repository, stack.folder)
        stack.client().infer(slow.name, slow.question(0.01))
        pids = [pid for worker in stack.workers for pid in stack.pids(worker)]
        with (
            slow.holding() as question,
            redis.Redis.from_url(stack.redis_server.url, socket_timeout=60) as admin,
        ):
            pending = stack.client().submit(slow.name, question)
            block_until(lambda: pending.status() == "running")
            for _ in range(3):
                admin.execute_command("DEBUG", "SLEEP", LEASE_S + 1)
                time.sleep(1)
            assert admin.xlen(stack.keys.dead_letters) == 0
        assert pending.result(60)
        assert [pid for worker in stack.workers for pid in stack.pids(worker)] == pids
        logs = "".join(worker.child.log_tail() for worker in stack.workers)
        assert "registering again" not in logs
