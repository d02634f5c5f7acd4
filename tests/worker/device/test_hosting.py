"""Blobs in host memory: read once, found by hash, gone when dropped."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from worker.device.cpu import CpuDevice
from worker.device.hosting import HostStore

KEY, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(bytes(range(256)) * 40)
    return path


def test_a_blob_is_there_without_its_file(blob):
    """The disk cache may throw it away."""
    store = CpuDevice().hosted
    raw = blob.read_bytes()
    store.keep(KEY, blob)
    blob.unlink()
    content = store.get(KEY)
    assert content is not None
    assert content.numpy().tobytes() == raw
    assert KEY in store and OTHER not in store
    assert store.bytes == len(raw)


def test_what_was_dropped_is_gone_once_nobody_uses_it(blob):
    """A load that has begun still has it."""
    store = CpuDevice().hosted
    store.keep(KEY, blob)
    in_use = store.get(KEY)
    assert store.drop(KEY) is not None
    assert store.get(KEY) is None and store.drop(KEY) is None and store.bytes == 0
    assert in_use is not None and int(in_use[255]) == 255
    del in_use
    gc.collect()
    assert str(blob) not in Path("/proc/self/maps").read_text()


def test_threads_that_keep_the_same_blob_read_it_once(blob):
    """The second one waits for the first."""
    made: list[int] = []
    go_on = threading.Event()

    def host(content: Tensor) -> Tensor:
        made.append(content.numel())
        assert go_on.wait(10)
        return content

    store = HostStore(host)
    threads = [threading.Thread(target=store.keep, args=(KEY, blob)) for _ in range(4)]
    for thread in threads:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join()
    assert made == [blob.stat().st_size]


def test_a_file_that_is_not_there_is_not_remembered(blob, tmp_path):
    """It can be kept once it has come."""
    store = CpuDevice().hosted
    with pytest.raises(OSError, match="No such file"):
        store.keep(KEY, tmp_path / "ghost")
    assert KEY not in store
    store.keep(KEY, blob)
    assert KEY in store


def test_an_empty_file_is_kept_as_nothing(tmp_path):
    """No mapping can be made of it."""
    store = CpuDevice().hosted
    (tmp_path / "empty").touch()
    store.keep(KEY, tmp_path / "empty")
    assert torch.equal(store.get(KEY), torch.empty(0, dtype=torch.uint8))
