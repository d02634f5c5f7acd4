"""TCP ports on loopback: free ones, and ones that are reserved for a server that starts later.

Free ports are chosen below the range from which the system takes the ports of outgoing
connections: one from that range may be taken again before a server that needs a second to start
has bound it.
"""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from shared.errors import Unavailable

FIRST, LAST = 12_000, 29_999
LOOPBACK = "127.0.0.1"
PREFERRED = 8000
_TRIES = 2_000
_SPARE = 20  # another run may take some between finding and reserving them


class PortTaken(Unavailable):
    """The port that was asked for is in use."""


def is_free(port: int) -> bool:
    """Whether a server could bind `port` on loopback now; it may be taken a moment later."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection that lingers from before is not in the way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen()
        except OSError:
            return False
    return True


def free_ports(count: int, *, also_free_above: int = 0) -> list[int]:
    """`count` different ports that are free now, in random order; Unavailable if there are none.

    With `also_free_above` n each port's n-th successor is free too. Callers retry with others if
    a port is taken before they bind it.
    """
    found: list[int] = []
    for port in random.sample(range(FIRST, LAST + 1), _TRIES):
        if len(found) == count:
            return found
        if is_free(port) and (not also_free_above or is_free(port + also_free_above)):
            found.append(port)
    raise Unavailable(f"no {count} free ports among {_TRIES} tried on {LOOPBACK}")


@contextmanager
def reserved_ports(
    count: int, first: int | None = None, preferred: int | None = None
) -> Iterator[list[int]]:
    """Ports that no other caller gets until the block ends: `first`, `first` + 1 and so on, or
    where that is None `preferred` if it is free, and any free ones. PortTaken if there are none.

    A port is bound, not listened on. On Linux a server may still listen on it (both set
    SO_REUSEADDR); on other systems the reservation ends before the block begins.
    """
    with ExitStack() as held:
        found = [_asked_for(first + i) for i in range(count)] if first else _free(count, preferred)
        for one in found:
            held.enter_context(one)
        ports = [int(one.getsockname()[1]) for one in found]
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


def _free(count: int, preferred: int | None) -> list[socket.socket]:
    held: list[socket.socket] = []
    first = [] if preferred is None else [preferred]
    for port in [*first, *free_ports(count + _SPARE)]:
        with suppress(PortTaken):
            held.append(_reserve(port))
        if len(held) == count:
            return held
    raise PortTaken(f"no {count} free ports were found: choose the first with PORT=")
