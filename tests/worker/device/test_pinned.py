"""Pinned host memory: exactly its size, registered while it is used, and not a moment longer."""

from __future__ import annotations

import errno
import gc
import mmap
from pathlib import Path

import pytest
import torch

from worker.device import pinned
from worker.device.base import DeviceOutOfMemory
from worker.device.pinned import pieces, pinned_copy


class FakeRegistrar:
    """The driver's book of registered memory. It can read an address while that is mapped."""

    def __init__(self, status: int = 0, most: int = 99) -> None:
        self.status = status
        self.most = most
        self.registered: dict[int, int] = {}

    def register(self, address: int, size: int) -> int:
        if len(self.registered) >= self.most:
            return 2
        if not self.status:
            self.registered[address] = size
        return self.status

    def unregister(self, address: int) -> int:
        assert is_mapped(address), "unmapped before unregistered"
        del self.registered[address]
        return 0


def is_mapped(address: int) -> bool:
    lines = Path("/proc/self/maps").read_text().splitlines()
    ranges = [line.split()[0].split("-") for line in lines]
    return any(int(start, 16) <= address < int(end, 16) for start, end in ranges)


CONTENT = torch.arange(3 * mmap.PAGESIZE + 5, dtype=torch.int64).to(torch.uint8)


def test_a_copy_is_registered_with_its_exact_size():
    """No rounding up: what a host budget says is what is used."""
    registrar = FakeRegistrar()
    copy = pinned_copy(CONTENT, registrar)
    assert registrar.registered == {copy.data_ptr(): CONTENT.numel()}
    assert torch.equal(copy, CONTENT)
    assert copy.data_ptr() != CONTENT.data_ptr()


def test_it_stays_registered_while_a_view_lives():
    """Tensors of a model are views of it."""
    registrar = FakeRegistrar()
    part = pinned_copy(CONTENT, registrar)[8:24].view(torch.float32)
    gc.collect()
    assert len(registrar.registered) == 1
    del part
    gc.collect()
    assert registrar.registered == {}


def test_a_driver_that_refuses_is_a_host_without_memory():
    """The copy is not kept unpinned: it would be slow, and nobody would know why."""
    registrar = FakeRegistrar(status=2)
    with pytest.raises(DeviceOutOfMemory, match="CUDA error 2: 12293 bytes"):
        pinned_copy(CONTENT, registrar)


def test_a_host_without_memory_is_told_apart(monkeypatch: pytest.MonkeyPatch):
    """The system's refusal of a mapping becomes ours."""

    def refuse(*given: object, **named: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("worker.device.pinned._Memory", refuse)
    with pytest.raises(DeviceOutOfMemory, match="the host has no 12293 bytes left"):
        pinned_copy(CONTENT, FakeRegistrar())


def test_nothing_is_registered_for_an_empty_blob():
    """A mapping of no bytes cannot be made."""
    registrar = FakeRegistrar()
    assert pinned_copy(torch.empty(0, dtype=torch.uint8), registrar).numel() == 0
    assert registrar.registered == {}


PIECE = 4 * mmap.PAGESIZE


@pytest.mark.parametrize("address", [0, 5 * mmap.PAGESIZE, 7 * mmap.PAGESIZE, 8 * mmap.PAGESIZE])
@pytest.mark.parametrize("size", [1, mmap.PAGESIZE, PIECE, PIECE + 1, 3 * PIECE + 5])
def test_pieces_cover_the_memory_and_end_where_any_copy_can_see_it(address: int, size: int):
    """At multiples of their size, whatever begins where: a part of the memory is cut there too."""
    found = list(pieces(address, size, PIECE))
    assert [start for start, _ in found] == [
        sum(n for _, n in found[:k]) for k in range(len(found))
    ]
    assert sum(count for _, count in found) == size
    for start, count in found:
        assert count > 0 and (address + start) // PIECE == (address + start + count - 1) // PIECE


def test_large_memory_is_registered_piece_by_piece(monkeypatch: pytest.MonkeyPatch):
    """Each one takes a lock that kernels need. All are unregistered before it is unmapped."""
    monkeypatch.setattr(pinned.pieces, "__defaults__", (PIECE,))
    registrar, content = FakeRegistrar(), torch.randint(0, 256, (5 * PIECE,), dtype=torch.uint8)
    copy = pinned_copy(content, registrar)
    assert torch.equal(copy, content)
    assert len(registrar.registered) >= 5
    assert sum(registrar.registered.values()) == content.numel()
    del copy
    gc.collect()
    assert registrar.registered == {}


def test_what_was_registered_before_a_refusal_is_unregistered(monkeypatch: pytest.MonkeyPatch):
    """The host ran out of memory that can be pinned halfway."""
    monkeypatch.setattr(pinned.pieces, "__defaults__", (PIECE,))
    registrar = FakeRegistrar(most=2)
    with pytest.raises(DeviceOutOfMemory, match="CUDA error 2"):
        pinned_copy(torch.zeros(5 * PIECE, dtype=torch.uint8), registrar)
    gc.collect()
    assert registrar.registered == {}
