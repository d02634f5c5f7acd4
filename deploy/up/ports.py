"""Ports for the gateways, which no other run on this machine can take in the meantime."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from deploy.local.ports import LOOPBACK, free_ports

PREFERRED = 8000
SPARE = 20  # another run may take some in the moment between finding and reserving


class PortTaken(Exception):
    """The port that was asked for is in use."""


@contextmanager
def reserved_ports(count: int, first: int | None) -> Iterator[list[int]]:
    """`first`, `first` + 1 and so on, or where None: 8000 if it is free, else any free ones.

    A port is bound, not listened on. On Linux a server may still listen on it (both set
    SO_REUSEADDR), while the next search for a free port passes it by; elsewhere it has to be let
    go again at once.
    """
    with ExitStack() as held:
        sockets = [_asked_for(first + i) for i in range(count)] if first else _free(count)
        for one in sockets:
            held.enter_context(one)
        ports = [int(one.getsockname()[1]) for one in sockets]
        if sys.platform != "linux":
            held.close()
        yield ports


def _asked_for(port: int) -> socket.socket:
    """A port that was asked for by number may still have dying connections of the run before."""
    try:
        return _reserve(port)
    except PortTaken:
        return _reserve(port, share=True)


def _reserve(port: int, *, share: bool = False) -> socket.socket:
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, share)
    try:
        reserved.bind((LOOPBACK, port))
    except OSError as error:
        reserved.close()
        raise PortTaken(f"port {port} is in use: choose another with PORT=") from error
    # Only now: set before, it would let bind share the port with another run's reservation.
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return reserved


def _free(count: int) -> list[socket.socket]:
    held: list[socket.socket] = []
    for port in [PREFERRED, *free_ports(count + SPARE)]:
        with suppress(PortTaken):
            held.append(_reserve(port))
        if len(held) == count:
            return held
    raise PortTaken(f"no {count} free ports were found: choose with PORT=")
