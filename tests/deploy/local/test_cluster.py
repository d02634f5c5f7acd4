"""A cluster whose gateways and workers are programs of the test; the tour runs real ones."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from deploy.local.child import Restart
from deploy.local.cluster import Cluster
from deploy.local.process_tree import is_running as alive
from deploy.local.redis_server import RedisServer
from shared.errors import Unavailable
from tests.helpers.wait import block_until

Open = Callable[..., Cluster]
SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"


@pytest.fixture
def opened(tmp_path: Path, redis_server: RedisServer) -> Iterator[Open]:
    """Opens a cluster whose workers run some code; what is left of it is killed."""
    clusters: list[Cluster] = []

    def open_it(code: str, **options: object) -> Cluster:
        run = [sys.executable, "-c", code]
        cluster = Cluster(
            tmp_path,
            redis_url=redis_server.url,
            repository=tmp_path.as_uri(),
            commands={"router": run, "worker": run},
            **options,  # type: ignore[arg-type]
        )
        clusters.append(cluster.open())
        return cluster

    yield open_it
    for cluster in clusters:
        cluster.stop(grace_s=0)


def test_processes_find_the_servers_and_have_names_of_their_own(opened: Open) -> None:
    """Settings of the cluster win over what is inherited, those of one process over both."""
    names = "'REDIS_URL', 'MODEL_REPOSITORY', 'WARMROUTE_WORKER_ID', 'A', 'B', 'C'"
    code = f"import os; print(*(os.environ[name] for name in ({names})))"
    given = {"inherited": {"A": "0", "B": "0", "C": "0"}, "settings": {"B": "1", "C": "1"}}
    cluster = opened(code, **given)
    first, second = cluster.start_worker(C="2"), cluster.start_worker()
    for worker in (first, second):
        worker.child.wait(20)
    servers = cluster.servers
    wanted = [servers.redis_url, servers.repository_url, "worker-1", "0", "1", "2"]
    assert first.log.split() == wanted
    assert second.log.split()[2] == second.name == "worker-2"


def test_each_gateway_has_a_port_of_its_own(opened: Open) -> None:
    """PORT has it, and so has the address of the process."""
    cluster = opened("import os; print(os.environ['PORT'])")
    gateways = [cluster.start_gateway() for _ in range(3)]
    for gateway in gateways:
        gateway.child.wait(20)
        assert gateway.url == f"http://127.0.0.1:{gateway.log.strip()}"
    assert len({gateway.url for gateway in gateways}) == 3


def test_a_worker_that_never_registers_is_not_ready(opened: Open) -> None:
    """Its output is in the error."""
    cluster = opened(SLEEPS)
    worker = cluster.start_worker()
    block_until(lambda: "up" in worker.log)
    with pytest.raises(Unavailable, match=r"(?s)worker-1 was not ready .*up"):
        cluster.wait_ready(1.0)


def test_a_process_that_ends_early_is_an_error_at_once(opened: Open) -> None:
    """And so is one that is restarted and crashes again and again."""
    cluster = opened("raise SystemExit('no such setting')")
    with pytest.raises(Unavailable, match=r"(?s)worker-1 ended with status 1.*no such setting"):
        cluster.add_worker()
    lines: list[str] = []
    kept = opened(
        "raise SystemExit(3)",
        restart=Restart(first_s=0.01),
        show=lambda name, line: lines.append(f"{name}: {line}"),
    )
    with pytest.raises(Unavailable, match="worker-1 crashed 3 times"):
        kept.add_worker()
    assert "worker-1: ended with status 3; restarts in 0.01 s" in lines


def test_stop_ends_all_of_them_at_once(opened: Open) -> None:
    """SIGTERM first; none is started again."""
    cluster = opened(SLEEPS, restart=Restart(first_s=0.01))
    processes = [cluster.start_gateway(), cluster.start_worker()]
    cluster.stop()
    assert [process.child.returncode for process in processes] == [-signal.SIGTERM] * 2
    assert (cluster.gateways, cluster.workers) == ([], [])


@pytest.mark.parametrize("hurried", [False, True])
def test_what_does_not_end_in_time_is_killed(opened: Open, hurried: bool) -> None:
    """After the time it has, or at once when the user asks a second time."""
    cluster = opened(STUBBORN)
    worker = cluster.start_worker()
    block_until(lambda: "up" in worker.log)
    hurry = Event()
    if hurried:
        hurry.set()
    cluster.stop(3600 if hurried else 0.2, hurry)
    assert worker.child.returncode == -signal.SIGKILL
    assert not alive(worker.child.pid)


def test_a_server_that_was_named_is_not_stopped(opened: Open, redis_server: RedisServer) -> None:
    """It runs for others too."""
    opened(SLEEPS).stop()
    assert alive(redis_server.child.pid)
