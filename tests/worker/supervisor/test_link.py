"""The line between parent and device process."""

from __future__ import annotations

import socket

from worker.supervisor.link import Link


async def both_ends() -> tuple[Link, Link]:
    one, other = socket.socketpair()
    return await Link.open(one), await Link.open(other)


async def test_messages_arrive_in_their_order_and_whole() -> None:
    """A list of thousands of models too."""
    parent, child = await both_ends()
    hot = [f"model-{n}:1:0123456789ab" for n in range(10_000)]
    child.send(epoch="12")
    child.send(hot=hot)
    assert await parent.receive() == {"epoch": "12"}
    assert await parent.receive() == {"hot": hot}
    parent.close(), child.close()


async def test_the_end_of_one_is_seen_by_the_other() -> None:
    """What was said before is still heard; half a line, as a killed process leaves it, is not."""
    one, other = socket.socketpair()
    parent = await Link.open(one)
    other.sendall(b'{"epoch": "3"}\n{"hot": ["a')
    other.close()
    assert await parent.receive() == {"epoch": "3"}
    assert await parent.receive() is None
    parent.send(hot=[])  # to nobody: harmless
    parent.close()
