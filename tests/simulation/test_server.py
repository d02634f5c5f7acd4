"""The Redis of the simulation: real, but its time is the schedule's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import redis.exceptions

from tests.simulation.server import EPOCH_MS, SimRedis


class Clock:
    """Seconds that a test sets."""

    now = 0.0


@pytest.fixture
def clock(server: SimRedis) -> Clock:
    """The clock of an empty Redis."""
    made = Clock()
    server.begin(lambda: made.now)
    return made


@pytest.fixture
def run(server: SimRedis) -> Callable[..., object]:
    """Run a script's text with some arguments (the first is the product's place for `now`)."""
    return lambda text, *args: server.run(["EVAL", text, 1, "{c}", "", *args]).reply


def test_a_lifetime_ends_by_virtual_time(
    clock: Clock, run: Callable[..., object], server: SimRedis
) -> None:
    """However it was given; a script and a plain command see it alike."""
    run("redis.call('SET', 'a', 1, 'PX', 2000) redis.call('HSET', 'b', 'x', 1)"
        "redis.call('PEXPIRE', 'b', 5000) redis.call('SET', 'c', 1)")  # fmt: skip
    assert run("return {redis.call('PTTL', 'a'), redis.call('PTTL', 'b'), redis.call('PTTL', 'c')}"
               ) == [2000, 5000, -1]  # fmt: skip
    clock.now = 3.0
    assert server.run(["EXISTS", "a", "b", "c"]).reply == 2
    assert run("return redis.call('PTTL', 'b')") == 2000
    clock.now = 6.0
    assert run("return redis.call('EXISTS', 'a', 'b', 'c')") == 1


def test_a_key_that_is_made_anew_does_not_inherit_a_lifetime(
    clock: Clock, run: Callable[..., object]
) -> None:
    """Deleted, overwritten, or gone with its last member."""
    run("for _, k in ipairs({'a', 'b'}) do redis.call('SET', k, 1, 'PX', 1000) end "
        "redis.call('HSET', 'c', 'x', 1) redis.call('PEXPIRE', 'c', 1000)"
        "redis.call('DEL', 'a') redis.call('SET', 'a', 1) redis.call('SET', 'b', 2)"
        "redis.call('HDEL', 'c', 'x') redis.call('HSET', 'c', 'x', 1)")  # fmt: skip
    clock.now = 2.0
    assert run("return redis.call('EXISTS', 'a', 'b', 'c')") == 3


def test_entry_ids_follow_virtual_time(
    clock: Clock, run: Callable[..., object], server: SimRedis
) -> None:
    """As Redis gives them: by the millisecond, counted within it, never below the last one."""
    add = "return redis.call('XADD', 's', '*', 'x', '1')"
    assert [run(add), run(add)] == [f"{EPOCH_MS}-0".encode(), f"{EPOCH_MS}-1".encode()]
    clock.now = 1.0
    assert server.run(["XADD", "s", "*", "x", "1"]).reply == f"{EPOCH_MS + 1000}-0".encode()
    run(f"redis.call('XSETID', 's', '{EPOCH_MS + 1000}-18446744073709551615')")
    assert run(add) == f"{EPOCH_MS + 1001}-0".encode()


def test_what_a_script_changed_is_told(clock: Clock, server: SimRedis) -> None:
    """Beside its own answer."""
    ran = server.run(["EVAL", "redis.call('DEL', 'none') redis.call('XADD', 's', '1-1', 'k', 'v')"
                      "return redis.call('XDEL', 's', '1-1')", 1, "{c}", ""])  # fmt: skip
    assert ran.reply == 1
    assert [(e.command, e.key, e.answer) for e in ran.effects] == [
        ("XADD", "s", "1-1"), ("XDEL", "s", 1),
    ]  # fmt: skip


def test_a_lost_script_cache_is_answered_as_redis_does(clock: Clock, server: SimRedis) -> None:
    """Until the text is sent again."""
    text = "return 7"
    sha = hashlib.sha1(text.encode()).hexdigest()
    with pytest.raises(redis.exceptions.NoScriptError):
        server.run(["EVALSHA", sha, 1, "{c}", ""])
    assert server.run(["EVAL", text, 1, "{c}", ""]).reply == 7
    assert server.run(["EVALSHA", sha, 1, "{c}", ""]).reply == 7
    server.forget_scripts()
    with pytest.raises(redis.exceptions.NoScriptError):
        server.run(["EVALSHA", sha, 1, "{c}", ""])


def test_members_are_listed_in_the_same_order_in_every_run(
    clock: Clock, run: Callable[..., object], server: SimRedis
) -> None:
    """Of a set and of a hash, however it is asked: two servers would list them differently."""
    names = [f"name-{n:02}".encode() for n in range(40)]
    for name in reversed(names):
        run("redis.call('SADD', 's', ARGV[2]) redis.call('HSET', 'h', ARGV[2], 1)", name)
    assert server.run(["SMEMBERS", "s"]).reply == names
    assert server.run(["HKEYS", "h"]).reply == names
    assert server.run(["HGETALL", "h"]).reply[::2] == names
    assert server.run(["SSCAN", "s", "0", "COUNT", "1000"]).reply[1] == names
    assert run("return redis.call('SMEMBERS', 's')") == names
    assert run("return redis.call('HKEYS', 'h')") == names


def test_random_members_are_the_same_in_every_run(clock: Clock, run: Callable[..., object]) -> None:
    """Of each kind as many as are wanted, with their scores if these are wanted too."""
    run("redis.call('ZADD', 'z', 1, 'a', 2, 'b') redis.call('SADD', 's', 'a', 'b')")
    drawn = "return redis.call('ZRANDMEMBER', 'z', 5, 'WITHSCORES')"
    pairs = run(drawn)
    assert isinstance(pairs, list) and run(drawn) == pairs
    assert {*zip(pairs[::2], pairs[1::2], strict=True)} == {(b"a", b"1"), (b"b", b"2")}
    for command in ("'ZRANDMEMBER', 'z'", "'SRANDMEMBER', 's'"):
        assert run(f"return #redis.call({command}, 1)") == 1
        assert run(f"return #redis.call({command}, 5)") == 2
