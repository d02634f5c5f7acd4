"""Free TCP ports on loopback.

Chosen below the range from which the system takes the ports of outgoing connections: one from
that range may be gone again before a server that takes a second to start has bound it.
"""

from __future__ import annotations

import random
import socket

from shared.errors import Unavailable

FIRST, LAST = 12_000, 29_999
LOOPBACK = "127.0.0.1"
_TRIES = 2_000


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
