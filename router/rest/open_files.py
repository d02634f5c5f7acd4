"""How many connections the limit of open files leaves room for.

A gateway that has no file left can neither answer a client nor ask Redis. So it keeps some for
itself, and refuses connections before they are gone.
"""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

RESERVED = 48  # Redis, the repository, logs, shared memory


def raise_limit(connections: int) -> None:
    """Let this process open as many files as so many connections need, if the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVED
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def connections_allowed(wanted: int) -> int:
    """`wanted`, or what the limit of open files leaves; at least 1."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted + RESERVED:
        return wanted
    allowed = max(1, soft - RESERVED)
    log.warning("%d connections at most: the limit of open files is %d", allowed, soft)
    return allowed
