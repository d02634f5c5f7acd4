"""Redis loses a part of what it held, under a real gateway and a real worker: F28, F32 and F33.

What is gone is gone, as the README says; everybody finds back by itself, and the rest is answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.redis_server import start_redis
from tests.helpers.models import Array, Mlp, Slow
from tests.helpers.stack import Process, Stack
from tests.helpers.wait import block_until
from warmroute import NotFound, RequestFailed
from warmroute.pending import Pending

PROMPTLY_S = 30
LONG_S = 600
CUT_BYTES = 10_000
SENT = 40

pytestmark = pytest.mark.slow


@pytest.fixture
def worker(cell: Stack, model: Mlp, slow: Slow) -> Iterator[Process]:
    """The worker, with both models. It is never restarted, and no loop of anybody's fails."""
    cell.scale(gateways=1, workers=1)
    (worker,), (gateway,) = cell.workers, cell.gateways
    cell.client().infer(model.name, model.question())
    cell.client().infer(slow.name, slow.question(0.01))
    device, logged = cell.device_pid(worker), [len(each.log) for each in (worker, gateway)]
    yield worker
    assert cell.device_pid(worker) == device
    for process, begun in zip((worker, gateway), logged, strict=True):
        assert "Traceback" not in process.log[begun:], process.log[-3000:]


def epoch(stack: Stack, worker: Process) -> bytes | None:
    """Of its registration."""
    said: bytes | None = stack.redis.hget(stack.keys.worker(worker.name), "epoch")
    return said


def fill(
    stack: Stack, model: Mlp, slow: Slow, held: dict[str, Array], timeout: float
) -> list[tuple[Pending, Any]]:
    """One request that is held, and four that wait behind it, with their checks."""
    client = stack.client()
    first = client.submit(slow.name, held, timeout=timeout)
    block_until(lambda: first.status() == "running")
    questions = [model.question(seed) for seed in range(4)]
    rest = [(client.submit(model.name, q, timeout=timeout), q) for q in questions]
    return [
        (first, lambda said: said["done"] > 0),
        *((p, lambda said, q=q: model.right(q, said["y"])) for p, q in rest),
    ]


def test_a_group_that_was_destroyed_is_made_again_and_every_request_ends_once(
    cell: Stack, worker: Process, model: Mlp, slow: Slow
) -> None:
    """F33. Entries are delivered again, and each is answered, also the one that ran."""
    before, stream = epoch(cell, worker), cell.keys.work(worker.name)
    with slow.holding() as held:
        sent = fill(cell, model, slow, held, timeout=PROMPTLY_S)
        (group,) = cell.redis.xinfo_groups(stream)
        buried = cell.redis.xlen(cell.keys.dead_letters)

        assert cell.redis.xgroup_destroy(stream, group["name"]) == 1

    assert all(right(pending.result(timeout=PROMPTLY_S)) for pending, right in sent)
    block_until(lambda: epoch(cell, worker) not in (None, before))
    assert cell.redis.xlen(stream) == 0 and cell.redis.xlen(cell.keys.dead_letters) == buried


def test_a_work_stream_that_was_deleted_is_made_again_and_its_requests_fail_at_once(
    cell: Stack, worker: Process, model: Mlp, slow: Slow
) -> None:
    """F32. Their entries are all there was of their questions: those that wait are told to send
    them again long before their deadlines, and no later request notices."""
    before = epoch(cell, worker)
    with slow.holding() as held:
        (_, *lost) = fill(cell, model, slow, held, timeout=LONG_S)

        assert cell.redis.delete(cell.keys.work(worker.name)) == 1

    question = model.question(99)
    said = cell.client().infer(model.name, question, timeout=PROMPTLY_S)
    assert model.right(question, said["y"]) and said.worker == worker.name
    block_until(lambda: epoch(cell, worker) not in (None, before))
    for pending, _ in lost:
        with pytest.raises(RequestFailed, match="send it again"):
            pending.result(timeout=PROMPTLY_S)
        said = cell.http("GET", f"/v2/requests/{pending.id}").json()
        assert (said["status"], said["code"]) == ("failed", "unavailable")
    block_until(lambda: cell.redis.zcard(cell.keys.deadlines) == 0)


def test_what_an_append_only_file_lost_is_lost_and_nothing_else(
    cell: Stack, worker: Process, model: Mlp
) -> None:
    """F28. Power was lost: the last writes are not in the file. The newest requests are unknown, or
    run again; all others have their outcomes, the right ones, and both doors serve."""
    client = cell.client()
    sent = [_submitted(cell, model, seed) for seed in range(SENT)]
    cell.redis_server.child.kill()
    cut(cell.folder / "redis")
    port = int(cell.redis_server.url.rpartition(":")[2].partition("/")[0])
    cell.redis_server = start_redis(cell.folder / "redis", port=port)
    block_until(lambda: cell.http("GET", "/v2/health/ready").status == 200)

    later = [_submitted(cell, model, seed) for seed in range(SENT, SENT + 5)]
    question = model.question(SENT + 5)
    assert model.right(question, client.infer(model.name, question, timeout=PROMPTLY_S)["y"])

    lost = [each for each in sent if not _kept(model, *each)]
    assert 0 < len(lost) < SENT and lost == sent[-len(lost) :], "only the newest"
    assert all(_kept(model, *each) for each in later)


def _submitted(stack: Stack, model: Mlp, seed: int) -> tuple[Pending, dict[str, Any]]:
    question = model.question(seed)
    return stack.client().submit(model.name, question), question


def _kept(model: Mlp, pending: Pending, question: dict[str, Any]) -> bool:
    try:
        assert model.right(question, pending.result(timeout=PROMPTLY_S)["y"])
    except NotFound:
        return False
    return True


def cut(folder: Path) -> None:
    """Take the last bytes off the append-only file, in the middle of whatever was written."""
    files = [*folder.glob("appendonlydir/*.incr.aof"), *folder.glob("appendonly.aof")]
    file = max(files, key=lambda each: each.stat().st_mtime)
    size = file.stat().st_size
    assert size > 2 * CUT_BYTES
    with file.open("r+b") as opened:
        opened.truncate(size - CUT_BYTES)
