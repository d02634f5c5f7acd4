"""How many connections to Redis a process takes: a cell of thousands of workers counts them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tests.helpers.stack import Process, Stack
from tests.helpers.wait import block_until

LOCAL, INODE = 1, 9  # columns of /proc/net/tcp


def sockets(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(handle.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


def connections(stack: Stack, worker: Process) -> int:
    """Of a worker's two processes, open now: gateways open and close theirs meanwhile."""
    own = set[str]().union(*map(sockets, stack.pids(worker)))
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ports = {int(row[LOCAL].rpartition(":")[2], 16) for row in rows if row[INODE] in own}
    clients = [str(client["addr"]) for client in stack.redis.client_list()]
    return sum(int(addr.rpartition(":")[2]) in ports for addr in clients)


def test_a_worker_at_rest_has_three(stack: Stack) -> None:
    """For calls, for requests, and for its heartbeat, which waits for orders too."""
    newcomer = stack.add_worker()
    block_until(lambda: connections(stack, newcomer) == 3, 60)
    assert newcomer.stop() == 0
