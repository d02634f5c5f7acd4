"""Reserved ports, with real sockets."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from deploy.local.ports import LOOPBACK
from deploy.up.ports import PortTaken, reserved_ports


@pytest.mark.skipif(sys.platform != "linux", reason="reservations are held on Linux only")
async def test_a_server_can_listen_on_a_reserved_port_that_other_runs_pass_by() -> None:
    """The reservation keeps others away, before, while and after the server listens."""
    with reserved_ports(2, None) as ports:
        assert len(set(ports)) == 2
        for _ in range(2):
            server = await asyncio.start_server(lambda r, w: None, LOOPBACK, ports[0])
            with reserved_ports(2, None) as others:
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
    with reserved_ports(2, None) as found:
        first = found[1]
    with reserved_ports(1, first) as ports:
        assert ports == [first]
