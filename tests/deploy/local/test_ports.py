from __future__ import annotations

import socket

import pytest

from deploy.local.ports import FIRST, LAST, free_ports, is_free
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
