"""SIGTERM to a gateway: its callers are answered or told where to ask, and it leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from deploy.local.processes import start
from tests.helpers.http import Answer, ask
from tests.helpers.models import Array, Mlp, Slow
from tests.helpers.stack import ROOT, Process, Stack
from tests.helpers.wait import block_until
from tests.system.setup import ONE_ROW, refuses_connections

SHORT = {"WARMROUTE_HANDOVER_S": "0.5"}


def call(
    pool: ThreadPoolExecutor, gateway: Process, slow: Slow, question: dict[str, Array]
) -> Future[Answer]:
    """A caller who waits."""
    path, steps = f"/v2/models/{slow.name}/infer", question["steps"].tolist()
    tensor = {"name": "steps", "datatype": "INT64", "shape": [1], "data": steps}
    return pool.submit(ask, gateway.url, "POST", path, json.dumps({"inputs": [tensor]}).encode())


def test_callers_who_would_wait_longer_are_told_where_to_ask(stack: Stack, slow: Slow) -> None:
    """202 from the gateway that leaves, the outcome from another, and exit 0."""
    leaver = stack.add_gateway(**SHORT)
    stack.client().infer(slow.name, slow.question(0.01))
    with ThreadPoolExecutor(8) as pool, slow.holding() as question:
        calls = [call(pool, leaver, slow, question) for _ in range(6)]
        block_until(lambda: stack.residency()[stack.workers[0].name]["queue"] == 6)
        assert leaver.stop() == 0
        answers = [each.result() for each in calls]
    for answer in answers:
        assert answer.status == 202
        assert answer.headers["connection"] == "close"
        where = answer.headers["location"]
        outcome = stack.http("GET", where + "?wait=30")
        assert outcome.json()["status"] == "succeeded", outcome
    assert "Traceback" not in leaver.log and "go on without this gateway" in leaver.log


def test_a_request_that_is_on_its_way_is_taken(stack: Stack, mlp: Mlp) -> None:
    """Its client could not know, and nobody else has what it has sent."""
    leaver = stack.add_gateway(WARMROUTE_HANDOVER_S="30")
    host, port = leaver.url.removeprefix("http://").split(":")
    head = f"POST /v2/models/{mlp.name}/infer HTTP/1.1\r\nHost: h\r\n"
    sent = f"{head}Content-Length: {len(ONE_ROW)}\r\n\r\n".encode() + ONE_ROW
    with socket.create_connection((host, int(port)), 60) as uploading:
        uploading.sendall(sent[:-100])
        assert ask(leaver.url, "GET", "/v2/health/live").status == 200  # so it has read the head
        leaver.child.terminate()
        block_until(lambda: refuses_connections(leaver))
        uploading.sendall(sent[-100:])
        assert uploading.recv(4096).startswith(b"HTTP/1.1 200 OK")
    block_until(lambda: not leaver.running)
    assert leaver.child.returncode == 0


def test_a_second_signal_ends_it_at_once(stack: Stack, slow: Slow) -> None:
    """Not with 0, as callers were left alone; what was accepted still reaches its end."""
    leaver = stack.add_gateway(WARMROUTE_HANDOVER_S="60")
    with ThreadPoolExecutor(1) as pool, slow.holding() as question:
        accepted = stack.client(leaver).submit(slow.name, question)
        waiting = call(pool, leaver, slow, question)
        block_until(lambda: len(stack.waiting(stack.workers[0].name)) == 2)
        leaver.child.send_signal(signal.SIGTERM)
        block_until(lambda: refuses_connections(leaver))
        assert leaver.running
        leaver.child.send_signal(signal.SIGTERM)
        block_until(lambda: not leaver.running)
        with pytest.raises(OSError):
            waiting.result()
    assert leaver.child.returncode == 1
    outcome = stack.http("GET", f"/v2/requests/{accepted.id}?wait=30")
    assert outcome.json()["status"] == "succeeded"


def test_a_gateway_without_callers_does_not_linger(stack: Stack) -> None:
    """Its time for callers is not waited for if there are none, nor for idle connections."""
    leaver = stack.add_gateway(WARMROUTE_HANDOVER_S="60")
    host, port = leaver.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as idle:
        idle.sendall(b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200 OK" in idle.recv(4096)
        assert leaver.stop() == 0
    assert "Traceback" not in leaver.log


def test_when_files_run_out_connections_are_refused_and_it_recovers(stack: Stack, mlp: Mlp) -> None:
    """With 64 open files: 503 for those it cannot take, answers for the others, then as before."""
    settings = {**os.environ, **stack.environment, "WARMROUTE_HEADER_S": "60"}
    command = ["/bin/sh", "-c", 'ulimit -n 64 && exec "$0" -u -m router', sys.executable]
    child = start(
        command, name="few-files", log=stack.folder / "few-files.log", env=settings, cwd=ROOT
    )
    try:
        block_until(lambda: "gateway listens on" in child.log.read_text() or child.returncode)
        url = child.log.read_text().partition("gateway listens on ")[2].split()[0]
        path = f"/v2/models/{mlp.name}/infer"
        assert ask(url, "POST", path, ONE_ROW).status == 200
        host, port = url.removeprefix("http://").split(":")
        held = [socket.create_connection((host, int(port)), 60) for _ in range(100)]
        held[0].sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200 OK" in held[0].recv(4096)
        assert b"503 Service Unavailable" in held[-1].recv(4096)
        for connection in held:
            connection.close()
        block_until(lambda: answers(url, path))
        assert "Traceback" not in child.log.read_text()
        assert child.stop(grace_s=30) == 0
    finally:
        child.kill()


def answers(url: str, path: str) -> bool:
    try:
        return ask(url, "POST", path, ONE_ROW).status == 200
    except OSError:
        return False
