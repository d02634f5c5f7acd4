"""F29: an append-only file that was damaged is not read over, and the error says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis

from deploy.local.redis_server import start_redis
from shared.errors import Unavailable


def filled(folder: Path) -> Path:
    """The file of a Redis that held a few hundred keys and was stopped."""
    server = start_redis(folder)
    with Redis.from_url(server.url) as redis:
        for number in range(300):
            redis.set(f"key-{number}", "x" * 100)
    server.stop()
    files = [*folder.glob("appendonlydir/*.incr.aof"), *folder.glob("appendonly.aof")]
    return max(files, key=lambda each: each.stat().st_size)


def test_redis_refuses_a_file_that_is_damaged_in_the_middle(tmp_path: Path) -> None:
    """It does not begin with a part of its data; the end of its log is in the error."""
    folder = tmp_path / "redis"
    file = filled(folder)
    content = bytearray(file.read_bytes())
    middle = content.index(b"*3\r\n", len(content) // 2)
    content[middle] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(Unavailable, match=r"(?i)bad file format"):
        start_redis(folder)


def test_a_file_whose_end_is_missing_is_read_up_to_there(tmp_path: Path) -> None:
    """As after a loss of power: that is not damage."""
    folder = tmp_path / "redis"
    file = filled(folder)
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size * 2 // 3 - 1)
    server = start_redis(folder)
    try:
        with Redis.from_url(server.url) as redis:
            assert 100 < redis.dbsize() < 300
            assert redis.get("key-0") == b"x" * 100
    finally:
        server.stop()
