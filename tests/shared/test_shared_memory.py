"""Large tensors through shared memory: what is written is read, and nobody pulls it away."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from shared.envelope import Envelope, Outcome, Timing, pack
from shared.errors import Unavailable
from shared.shared_memory import (
    MARK,
    UNCLAIMED_S,
    SharedMemoryStore,
    is_reference,
    open_shared_memory,
    size_of,
)
from tests.helpers.factories import tensor

GATEWAY = "gw-0123456789ab"
ID = "f" * 32


def outcome(value: float, count: int = 1000) -> Outcome:
    return Outcome([tensor(np.full(count, value, "<f4"), "y")], "mine", Timing(1, 2, 3))


@pytest.fixture
def store(tmp_path: Path) -> SharedMemoryStore:
    """The memory of one cell, with the folder of one gateway."""
    made = open_shared_memory(str(tmp_path), "cell", "redis://localhost")
    assert made is not None
    made.open_folder(GATEWAY)
    return made


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.glob("*/gw-*/*"))


def test_a_request_is_read_as_it_was_written(store: SharedMemoryStore, tmp_path: Path) -> None:
    """Several tensors, one of them empty of bytes; it stays until it is dropped."""
    sent = Envelope(
        [tensor(np.arange(5000, dtype="<i8"), "a"), tensor(np.zeros((0,), "<f4"), "b")],
        ["y"], "mine", "trace",
    )  # fmt: skip
    reference = store.put(GATEWAY, ID, "in", sent)
    assert is_reference(reference) and not is_reference(pack(sent))
    for _ in range(2):
        assert store.get_request(reference) == sent
    assert size_of(sent) == 40_000
    store.drop(GATEWAY, ID)
    store.drop(GATEWAY, ID)
    assert files(tmp_path) == []
    with pytest.raises(Unavailable):
        store.get_request(reference)


def test_an_outcome_is_taken_once_and_its_memory_stays_while_it_is_looked_at(
    store: SharedMemoryStore, tmp_path: Path
) -> None:
    """Its file goes at once."""
    reference = store.put(GATEWAY, ID, "out", outcome(7))
    taken = store.take_outcome(reference)
    assert files(tmp_path) == []
    assert taken == outcome(7)
    with pytest.raises(Unavailable):
        store.take_outcome(reference)


def test_a_worker_that_comes_late_does_not_pull_memory_away(
    store: SharedMemoryStore,
) -> None:
    """It ran the same request, and writes its outcome while the first one is being read: what a
    gateway has mapped must not change, or shrink, which would kill it."""
    reference = store.put(GATEWAY, ID, "out", outcome(7))
    reading = store._path(reference).open("rb")
    store.put(GATEWAY, ID, "out", outcome(8))
    held = reading.read()
    reading.close()
    store.put(GATEWAY, ID, "out", outcome(7))
    assert held == store._path(reference).read_bytes()


def test_what_cannot_be_written_leaves_nothing_behind(
    store: SharedMemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is full, or the gateway's folder is gone: the caller takes the other way."""

    def full(handle: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError):
        store.put(GATEWAY, ID, "out", outcome(7))
    store.drop(GATEWAY, ID)
    assert files(tmp_path) == []
    monkeypatch.undo()
    with pytest.raises(OSError):
        store.put("gw-aaaaaaaaaaaa", ID, "out", outcome(7))


@pytest.mark.parametrize(
    "name",
    [b"", b"../../etc/passwd", b"gw-0123456789ab/../x.in", b"gw-1/" + b"f" * 32 + b".in", b"\xff",
     b"gw-0123456789ab/" + b"f" * 32 + b".in\n", b"gw-0123456789ab/" + b"f" * 32 + b".txt"],
)  # fmt: skip
def test_a_reference_leads_nowhere_else(store: SharedMemoryStore, name: bytes) -> None:
    """Whoever wrote it."""
    with pytest.raises(Unavailable, match="garbage"):
        store.get_request(MARK + name)


def test_what_nobody_took_is_dropped_after_a_while(
    store: SharedMemoryStore, tmp_path: Path
) -> None:
    """Outcomes of callers who left; what is young, and requests, stay."""
    for kind, number in (("out", "1"), ("out", "2"), ("in", "1")):
        store.put(GATEWAY, number * 32, kind, outcome(7))
    for old in ("1" * 32 + ".out", "1" * 32 + ".in"):
        path = next(tmp_path.glob(f"*/gw-*/{old}"))
        age = path.stat().st_mtime - UNCLAIMED_S - 1
        os.utime(path, (age, age))
    assert store.drop_unclaimed(GATEWAY) == 1
    assert files(tmp_path) == ["1" * 32 + ".in", "2" * 32 + ".out"]


def test_the_folders_of_dead_gateways_go(store: SharedMemoryStore, tmp_path: Path) -> None:
    """With all that is in them; one's own stays."""
    store.open_folder("gw-aaaaaaaaaaaa")
    store.put("gw-aaaaaaaaaaaa", ID, "in", outcome(7))
    assert store.close_all_but({GATEWAY}) == 1
    assert [path.name for path in tmp_path.glob("*/gw-*")] == [GATEWAY]


def test_who_sees_the_folder_shares_the_memory(tmp_path: Path) -> None:
    """Same cell and same Redis: the same host id; another cell has other memory."""
    one, two = (open_shared_memory(str(tmp_path), "cell", "redis://a") for _ in range(2))
    other = open_shared_memory(str(tmp_path), "other", "redis://a")
    assert one is not None and two is not None and other is not None
    assert one.host == two.host != other.host
    assert open_shared_memory("off", "cell", "redis://a") is None
    assert open_shared_memory(str(tmp_path / "nowhere"), "cell", "redis://a") is None
