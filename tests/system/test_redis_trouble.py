"""Redis fails under gateways and workers: nothing accepted is lost, nothing is restarted (I27).

Each fault is seen to have happened. Those that need no worker are in
`tests/router/requests/test_redis_faults.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis.exceptions

from deploy.local.redis_server import start_redis
from tests.helpers.callers import PATIENCE_S, Load, load
from tests.helpers.models import Array, Mlp, Slow, publish_mlp, publish_slow
from tests.helpers.pair import loads
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from tests.system.setup import ONE_ROW, open_stack

LEASE_S = 10
PAUSE_MS = 4000


@pytest.fixture(scope="module")
def trouble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A cell of its own, whose leases are longer than any pause here."""
    folder = tmp_path_factory.mktemp("trouble")
    with open_stack(folder, WARMROUTE_LEASE_S=str(LEASE_S)) as stack:
        stack.scale(gateways=1, workers=1)
        yield stack


@pytest.fixture(scope="module")
def model(trouble: Stack) -> Mlp:
    """Warm."""
    made = publish_mlp(trouble.repository, trouble.folder)
    trouble.client().infer(made.name, made.question())
    return made


def goes_on(stack: Stack, load: Load) -> None:
    """Both doors serve again, and the gateway is ready."""
    block_until(lambda: stack.http("GET", "/v2/health/ready").status == 200, PATIENCE_S)
    answered, accepted = load.answered, len(load.accepted)
    block_until(lambda: load.answered > answered and len(load.accepted) > accepted, PATIENCE_S)


@pytest.fixture(autouse=True)
def _nobody_died(trouble: Stack) -> Iterator[None]:
    """The same processes, without a stack trace in their logs."""
    before = [*trouble.gateways, *trouble.workers]
    yield
    assert [*trouble.gateways, *trouble.workers] == before
    for process in before:
        assert "Traceback" not in process.log, process.log[-3000:]


def registered(stack: Stack) -> int:
    """How often the worker has registered."""
    return int(stack.redis.get(stack.keys.epoch) or 0)


def test_connections_that_are_cut_again_and_again(trouble: Stack, model: Mlp) -> None:
    """Few callers notice, nobody loses anything."""
    killed = 0
    with load(trouble.client(), model) as running:
        for _ in range(6):
            killed += trouble.redis.client_kill_filter(_type="normal", skipme=True)
            time.sleep(0.5)
        goes_on(trouble, running)
    assert killed >= 6 * 3
    running.all_end()
    assert running.refused < running.answered


def test_scripts_that_are_lost(trouble: Stack, model: Mlp) -> None:
    """They are sent again; nobody notices."""
    with load(trouble.client(), model) as running:
        for _ in range(5):
            trouble.redis.script_flush()
            time.sleep(0.2)
        goes_on(trouble, running)
    running.all_end()
    assert running.refused == 0


def test_a_pause_that_is_shorter_than_a_lease(trouble: Stack, model: Mlp) -> None:
    """All wait, and nobody is taken for dead."""
    epoch = registered(trouble)
    with load(trouble.client(), model) as running:
        trouble.redis.client_pause(PAUSE_MS, all=True)
        goes_on(trouble, running)
        goes_on(trouble, running)
    assert running.longest_s > PAUSE_MS / 1000 / 2, "the pause was not noticed"
    running.all_end()
    assert registered(trouble) == epoch
    assert "lost its lease" not in trouble.gateways[0].log


def test_memory_that_is_full(trouble: Stack, model: Mlp) -> None:
    """503 for new work, what runs completes, and with room again all goes on."""
    with load(trouble.client(), model) as running:
        trouble.redis.config_set("maxmemory", 1)
        block_until(lambda: trouble.http("POST", *_request(model)).status == 503)
        answer = trouble.http("POST", *_request(model))
        assert answer.status == 503 and answer.headers["retry-after"]
        taken = list(running.accepted)
        for pending, question in taken:
            assert model.right(question, pending.result(timeout=PATIENCE_S)["y"])
        trouble.redis.config_set("maxmemory", 0)
        goes_on(trouble, running)
    running.all_end()
    cold = publish_mlp(trouble.repository, trouble.folder)
    answer = trouble.client().infer(cold.name, cold.question())
    assert cold.right(cold.question(), answer["y"]), "who takes load orders died of it"


def _long_request(slow: Slow, question: dict[str, Array]) -> tuple[str, bytes]:
    """With a deadline after three seconds."""
    steps = question["steps"].tolist()
    tensor = {"name": "steps", "datatype": "INT64", "shape": [1], "data": steps}
    document = {"inputs": [tensor], "parameters": {"timeout": 3_000_000}}
    return f"/v2/models/{slow.name}/infer", json.dumps(document).encode()


def _runs(stack: Stack, worker: str, tensor: str) -> bool:
    """Whether a request with such an input is placed on a worker."""
    return any(sent.inputs[0].name == tensor for sent in stack.waiting(worker))


def _request(model: Mlp) -> tuple[str, bytes, dict[str, str]]:
    return f"/v2/models/{model.name}/infer", ONE_ROW, {"Prefer": "respond-async"}


def test_everything_deleted(trouble: Stack, model: Mlp) -> None:
    """What was accepted is gone, as the README says; the map comes back, and nobody hangs."""
    slow = publish_slow(trouble.repository, trouble.folder)
    trouble.client().infer(slow.name, slow.question(0.01))
    with load(trouble.client(), model) as running, ThreadPoolExecutor(1) as pool:
        held = trouble.holders(model.name)
        worker = trouble.workers[0]
        with slow.holding() as question:
            lost = pool.submit(trouble.http, "POST", *_long_request(slow, question))
            block_until(lambda: _runs(trouble, worker.name, "steps"))
            trouble.redis.flushall()
        known = len(running.accepted)
        # The next one may have been placed before, and its caller was told only now.
        block_until(lambda: len(running.accepted) > known, PATIENCE_S)
        gone = list(running.accepted)
        block_until(lambda: trouble.holders(model.name) == held, PATIENCE_S)
        goes_on(trouble, running)
        running.accepted = [each for each in running.accepted if each not in gone]
        assert lost.result().status in (503, 504)
    running.all_end()
    assert loads(worker, model.name) == 1, "it still held the model: no need to load it again"


def test_redis_killed_and_started_again(trouble: Stack, model: Mlp) -> None:
    """On the same disk: every accepted request has its end; 503 and when to come back meanwhile."""
    with load(trouble.client(), model) as running:
        kill_and_restart(trouble, lambda: _is_refused(trouble, model))
        goes_on(trouble, running)
    running.all_end()


def _is_refused(stack: Stack, model: Mlp) -> bool:
    answer = stack.http("POST", *_request(model))
    ready = stack.http("GET", "/v2/health/ready")
    return answer.status == 503 and "retry-after" in answer.headers and ready.status == 503


def kill_and_restart(stack: Stack, meanwhile: Callable[[], bool]) -> None:
    """`kill -9`, and a new process on the same port and folder once `meanwhile()` is true."""
    server = stack.redis_server
    server.child.kill()
    with pytest.raises(redis.exceptions.ConnectionError):
        stack.redis.ping()
    block_until(meanwhile, PATIENCE_S)
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    stack.redis_server = start_redis(stack.folder / "redis", port=port)
