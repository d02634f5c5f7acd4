"""Commands as Redis reads them: what is large in them is not copied."""

from __future__ import annotations

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.redis_server import RedisServer
from shared import resp
from shared.channel import Channel
from shared.resp import LARGE_FROM, packed

LARGE = bytes(LARGE_FROM)
ARGUMENTS = st.lists(
    st.one_of(
        st.binary(max_size=9), st.text(max_size=9), st.integers(), st.just(LARGE),
        st.floats(allow_nan=False),
    ),
    min_size=1, max_size=9,
)  # fmt: skip


@given(ARGUMENTS)
def test_pieces_are_the_command(args: list[object]) -> None:
    """Byte for byte as hiredis packs it."""
    assert b"".join(packed(tuple(args))) == hiredis.pack_command(tuple(args))


def test_a_large_argument_is_a_piece_of_its_own() -> None:
    """It is the object that was given, however many there are; what is small is one piece."""
    pieces = packed(("SET", "key", LARGE, LARGE, "PX", 1))
    assert [piece is LARGE for piece in pieces] == [False, True, False, True, False]
    assert len(packed(("SET", "key", LARGE[1:], "PX", 1))) == 1


@pytest.mark.parametrize("size", [LARGE_FROM - 1, LARGE_FROM, 9 << 20])
async def test_commands_of_all_sizes_come_back_in_their_order(
    redis_server: RedisServer, size: int
) -> None:
    """Small ones between large ones."""
    channel = Channel(redis_server.url)
    texts = [b"%d" % number + bytes(size) for number in range(3)]
    calls = [channel.execute_command("ECHO", part) for text in texts for part in (text, text[:9])]
    assert [await call for call in calls] == [part for text in texts for part in (text, text[:9])]
    await channel.aclose()


def test_a_large_argument_is_never_given_to_hiredis(monkeypatch: pytest.MonkeyPatch) -> None:
    """It appends to the command, which takes 2 ms for each MiB, on the event loop."""
    given_to_it: list[object] = []
    monkeypatch.setattr(
        resp.hiredis, "pack_command", lambda args: given_to_it.extend(args) or b"*0\r\n"
    )
    packed(("EVALSHA", b"sha", 1, LARGE, "more", LARGE))
    assert given_to_it == ["EVALSHA", b"sha", 1, "more"]
