from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from deploy.local.ports import (
    FIRST,
    LAST,
    LOOPBACK,
    PortTaken,
    free_ports,
    is_free,
    reserved_ports,
)
from shared.errors import Unavailable


def test_free_ports_are_different_and_can_be_bound() -> None:
    """All at once, as a server that needs ten of them does."""
    ports = free_ports(12)
    sockets = [socket.create_server(("127.0.0.1", port)) for port in ports]
    assert len(set(ports)) == 12
    assert not any(is_free(port) for port in ports)
    for opened in sockets:
        opened.close()


def test_ports_stay_out_of_the_range_of_outgoing_connections() -> None:
    """The system would give one of those away before the server binds it."""
    assert all(FIRST <= port <= LAST < 32_768 for port in free_ports(50))


def test_a_neighbour_can_be_asked_for_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """For servers that take a second port at a fixed distance."""
    monkeypatch.setattr("deploy.local.ports.is_free", lambda port: port < 30_000 or port % 2)
    assert all(port % 2 for port in free_ports(5, also_free_above=10_000) if port >= 20_000)


def test_no_free_ports_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than searched for ever."""
    monkeypatch.setattr("deploy.local.ports.is_free", lambda port: False)
    with pytest.raises(Unavailable, match="no 1 free ports"):
        free_ports(1)


@pytest.mark.skipif(sys.platform != "linux", reason="reservations are held on Linux only")
async def test_a_server_can_listen_on_a_reserved_port_that_other_runs_pass_by() -> None:
    """The reservation keeps others away, before, while and after the server listens."""
    with reserved_ports(2) as ports:
        assert len(set(ports)) == 2
        for _ in range(2):
            server = await asyncio.start_server(lambda r, w: None, LOOPBACK, ports[0])
            with reserved_ports(2, preferred=ports[0]) as others:
                assert not set(others) & set(ports)
            server.close()
            await server.wait_closed()


def test_a_port_that_was_asked_for_and_is_in_use_is_an_error_that_names_it() -> None:
    """No other port is taken in its place."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)), reserved_ports(1, port):
            pass


def test_ports_that_were_asked_for_are_given_in_order() -> None:
    """PORT=n and two gateways: n and n + 1."""
    with reserved_ports(2) as found:
        first = found[1]
    with reserved_ports(1, first) as ports:
        assert ports == [first]
    with reserved_ports(1, preferred=first) as ports:
        assert ports == [first]
