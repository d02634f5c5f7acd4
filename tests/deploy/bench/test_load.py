"""The load generator against servers that behave, and that do not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count, cycle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import deploy.bench.connection
import deploy.bench.load
from deploy.bench.load import in_order, steady, volley
from deploy.bench.measure import BenchError
from deploy.bench.posts import body_of, check_echo, json_post
from deploy.bench.references import running_echo
from deploy.local.ports import free_ports
from tests.deploy.bench.conftest import RawServer

POSTS = [json_post("any", {"x": np.full((1, n), n, np.float32)}) for n in (1, 2, 3)]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nanswer"


@pytest.fixture
def echo_port(tmp_path: Path) -> Iterator[int]:
    with running_echo(tmp_path) as echo:
        yield echo.port


@pytest.fixture
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten milliseconds pass at each look at the clock, whatever this machine takes meanwhile."""
    looks = count()
    clock = SimpleNamespace(perf_counter=lambda: next(looks) * 0.01)
    for module in (deploy.bench.load, deploy.bench.connection):
        monkeypatch.setattr(module, "time", clock)


@pytest.mark.usefixtures("_clock")
def test_every_connection_gets_the_answers_to_its_own_posts(echo_port: int) -> None:
    """Whichever post is chosen, its body comes back, over many connections at once."""
    numbers = cycle(range(len(POSTS)))
    load = steady(echo_port, POSTS, lambda: next(numbers), connections=8, seconds=2, keep_every=1)
    assert {answer.post for answer in load.kept} == {0, 1, 2}
    for answer in load.kept:
        check_echo(answer, POSTS)
    assert load.all_answers == len(load.kept)


@pytest.mark.usefixtures("_clock")
def test_only_answers_within_the_measured_time_count(echo_port: int) -> None:
    """Those of the first moments, and those still on their way at the end, do not."""
    load = steady(echo_port, POSTS, lambda: 0, connections=2, seconds=2)
    assert 0 < len(load.done) < load.all_answers
    assert load.per_second == len(load.done) / 2
    assert max(done.at for done in load.done) - min(done.at for done in load.done) <= 2


def test_a_trace_is_sent_once_in_its_order(echo_port: int) -> None:
    """Whole, over as many connections as there are to be; on one, in that very order."""
    order = [2, 0, 1, 1, 0]
    load = in_order(echo_port, POSTS, order, connections=1, within_s=60)
    assert [answer.post for answer in load.kept] == order
    load = in_order(echo_port, POSTS, order * 20, connections=8, within_s=60)
    assert sorted(answer.post for answer in load.kept) == sorted(order * 20)
    for answer in load.kept:
        check_echo(answer, POSTS)


def test_an_answer_may_come_in_any_pieces(server: RawServer) -> None:
    """Split in the status line, in the head's end and in the body."""
    server.pieces = [OK[:5], OK[5:63], OK[63:-3], OK[-3:]]
    load = volley(server.port, [POSTS[0]])
    assert [answer.body for answer in load.kept] == [b"answer"]
    assert b"text/plain" in load.kept[0].head


def test_a_volley_has_all_its_requests_under_way_at_once(server: RawServer) -> None:
    """Each on a connection of its own: none is answered here before the last has come."""
    server.pieces, server.together = [OK], threading.Barrier(20)
    load = volley(server.port, [POSTS[at % 3] for at in range(20)])
    assert sorted(answer.post for answer in load.kept) == list(range(20))
    assert sorted(map(body_of, server.seen)) == sorted(body_of(POSTS[at % 3]) for at in range(20))


def test_any_other_status_than_200_stops_the_load(server: RawServer) -> None:
    """With what the server said."""
    server.pieces = [b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ncome back"]
    with pytest.raises(BenchError, match="503 Busy come back"):
        steady(server.port, POSTS, lambda: 0, connections=2, seconds=5)


def test_a_connection_that_is_lost_stops_the_load(server: RawServer) -> None:
    """An answer that never comes must not just lower the rate."""
    with pytest.raises(BenchError, match="connection lost"):
        volley(server.port, [POSTS[0]])


def test_an_answer_that_does_not_come_stops_the_load(server: RawServer) -> None:
    """After the time that was given."""
    server.pieces = [OK[:30]]
    with pytest.raises(BenchError, match="0 answers"):
        volley(server.port, [POSTS[0]], within_s=0.2)


def test_a_port_without_a_server_stops_the_load() -> None:
    """At once."""
    (port,) = free_ports(1)
    with pytest.raises(BenchError, match=f"port {port}"):
        volley(port, [POSTS[0]])
