from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from worker.weight_cache import landing as module
from worker.weight_cache.landing import Landing


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "partial", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


@pytest.mark.parametrize("step", [1, 100, 10_000])
async def test_chunks_in_any_order_are_hashed_in_theirs(
    pool: ThreadPoolExecutor, fd: int, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Hashing starts before all has come, and the digest is that of the whole."""
    monkeypatch.setattr(module, "HASH_STEP_BYTES", step)
    body = random.Random(7).randbytes(1000)
    landing = Landing(fd, len(body), pool)
    digest = asyncio.create_task(landing.sha256())
    chunks = [(start, body[start : start + 37]) for start in range(0, 1000, 37)]
    random.Random(8).shuffle(chunks)
    for start, chunk in chunks:
        assert not digest.done()
        landing.write(chunk, start)
        await asyncio.sleep(0)
    assert await digest == hashlib.sha256(body).hexdigest()
    assert os.pread(fd, 2000, 0) == body


async def test_the_file_has_its_full_size_at_once(pool: ThreadPoolExecutor, fd: int) -> None:
    """With its blocks, so that the disk cannot run out half-way."""
    Landing(fd, 100_000, pool)
    assert os.fstat(fd).st_size == 100_000
    assert os.fstat(fd).st_blocks * 512 >= 100_000


async def test_nothing_has_a_hash_too(pool: ThreadPoolExecutor, fd: int) -> None:
    """An empty blob is complete from the start."""
    assert await Landing(fd, 0, pool).sha256() == hashlib.sha256().hexdigest()
