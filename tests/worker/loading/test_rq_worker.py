"""Hostile jobs in the cold queue run nothing: neither what they name nor what they carry."""

from __future__ import annotations

import http.server
import json
import pickle
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.helpers.order_bench import GOOD, KEYS, OrderBench
from worker.loading.rq_worker import MAX_JOB_BYTES, StrictJSON

IDLE = ["os.getpid", None, [], {}]
MEGABYTES = 200


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (self._command,)


@pytest.fixture
def hooks() -> Iterator[tuple[str, list[str]]]:
    """A web server that notes who calls: its URL, and the calls."""
    calls: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            calls.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *args: Any) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", calls
    server.shutdown()
    server.server_close()
    thread.join()


def touch(orders: OrderBench) -> str:
    return f"touch {orders.touched}"


HOSTILE: dict[str, Callable[[OrderBench], tuple[Any, dict[str, Any]]]] = {
    "a system command": lambda b: (["os.system", None, [touch(b)], {}], {}),
    "eval": lambda b: (["builtins.eval", None, [f"open({str(b.touched)!r}, 'w')"], {}], {}),
    "a file of ours": lambda b: (["pathlib.Path.touch", str(b.touched), [], {}], {}),
    "a method of an instance": lambda b: (["touch", str(b.touched), [], {}], {}),
    "a name like ours": lambda b: (["warmroute.load.x", None, ["r", "t"], {}], {}),
    "too few arguments": lambda b: (["warmroute.load", None, ["r"], {}], {}),
    "no call": lambda b: ({"a": 1}, {}),
    "a number": lambda b: (7, {}),
    "no JSON": lambda b: (b"hello", {}),
    "NaN": lambda b: (b'["warmroute.load", null, [NaN], {}]', {}),
    "nested without end": lambda b: (b"[" * 4000, {}),
    "pickle": lambda b: (pickle.dumps(Bomb(touch(b))), {}),
    "packed pickle": lambda b: (zlib.compress(pickle.dumps(Bomb(touch(b)))), {}),
    "pickle as meta": lambda b: (IDLE, {"meta": pickle.dumps(Bomb(touch(b)))}),
    "pickle as result": lambda b: (IDLE, {"result": pickle.dumps(Bomb(touch(b)))}),
    "too large": lambda b: (["warmroute.load", None, ["r" * MAX_JOB_BYTES, "t"], {}], {}),
    "no data": lambda b: (b"", {}),
    "a wrong date": lambda b: (IDLE, {"created_at": "yesterday"}),
    "a wrong number": lambda b: (IDLE, {"result_ttl": "soon"}),
    "a wrong status": lambda b: (IDLE, {"status": "lost"}),
    "a success callback": lambda b: (
        IDLE, {"success_callback_name": "os.system", "success_callback_timeout": 1},
    ),
    "a failure callback": lambda b: (
        IDLE, {"failure_callback_name": "os.abort", "failure_callback_timeout": 1},
    ),
    "retries": lambda b: (IDLE, {"retries_left": 10**9, "number_of_retries": 0}),
    "repetition": lambda b: (IDLE, {"repeats_left": 10**9, "repeat_intervals": "[0]"}),
    "a dependency": lambda b: (IDLE, {"dependency_ids": '["job-0"]'}),
    "a group": lambda b: (IDLE, {"group_id": "g"}),
    "a limit": lambda b: (IDLE, {"rate_limit_key": "k", "rate_limit_concurrency": 1}),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.timeout(20)
def test_a_hostile_job_runs_nothing_and_the_next_is_taken(orders: OrderBench, case: str) -> None:
    """It fails or is dropped, once; a good order behind it is carried out."""
    data, fields = HOSTILE[case](orders)
    orders.push(data, **fields)
    orders.push(GOOD)
    orders.work()
    assert not orders.touched.exists()
    assert orders.claims == [tuple(GOOD[2])]


def test_a_job_that_is_gone_is_passed_over(orders: OrderBench) -> None:
    """Its id alone is in the queue."""
    orders.client.rpush(KEYS.rq_queue(), "job-nowhere", "../../etc", "a" * 10_000)
    orders.push(GOOD)
    orders.work()
    assert len(orders.claims) == 1


def test_callbacks_and_webhooks_of_a_good_order_are_not_called(
    orders: OrderBench, hooks: tuple[str, list[str]]
) -> None:
    """Whatever the order carries beside its call."""
    url, calls = hooks
    webhook = {
        "url": f"{url}/hook",
        "method": "POST",
        "headers": {},
        "status": "finished",
        "timeout": 5,
    }
    orders.push(
        GOOD, webhooks=json.dumps([webhook, webhook | {"status": "failed"}]),
        success_callback_name="tests.worker.loading.test_rq_worker.nobody",
        success_callback_timeout=1,
        meta=pickle.dumps(Bomb(touch(orders))), repeats_left=5, repeat_intervals="[0]",
    )  # fmt: skip
    orders.work()
    assert orders.claims == [tuple(GOOD[2])]
    assert calls == []
    assert not orders.touched.exists()


@pytest.mark.parametrize("field", ["data", "exc_info", "result", "meta"])
def test_a_compressed_bomb_is_not_unpacked(orders: OrderBench, field: str) -> None:
    """Hundreds of megabytes from a few hundred kilobytes, in whatever field RQ would unpack."""
    packer = zlib.compressobj(1)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(MEGABYTES)) + packer.flush()
    orders.push(bomb) if field == "data" else orders.push(GOOD, **{field: bomb})
    orders.push(GOOD)
    tracemalloc.start()
    try:
        orders.work()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30 << 20
    assert orders.claims


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_the_serializer_writes_json_only(value: object) -> None:
    """Finite, and without anything that would need another."""
    with pytest.raises((ValueError, TypeError)):
        StrictJSON.dumps(value)


def test_the_serializer_reads_small_json_only() -> None:
    """What is larger is refused before it is read."""
    assert StrictJSON.loads(StrictJSON.dumps(GOOD)) == GOOD
    with pytest.raises(ValueError, match="bytes"):
        StrictJSON.loads(b" " * MAX_JOB_BYTES + b"1")
    with pytest.raises(ValueError):
        StrictJSON.loads(pickle.dumps(1))
