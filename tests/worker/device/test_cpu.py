"""The CPU as a device: honest bytes, no copies, one thread."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import torch

from worker.device.cpu import CpuDevice, resident_bytes, total_bytes

MIB = 1 << 20


def test_used_memory_grows_with_what_is_touched():
    """Resident bytes rise by about what was written."""
    device = CpuDevice()
    before = device.memory_used()
    held = torch.ones(64 * MIB, dtype=torch.uint8)
    grown = device.memory_used() - before
    assert 48 * MIB < grown < 128 * MIB
    assert held.numel()


def test_used_memory_is_the_resident_pages_of_statm(tmp_path):
    """The second number of the file, in pages."""
    statm = tmp_path / "statm"
    statm.write_text("100 7 3 1 0 50 0\n")
    assert resident_bytes(statm) == 7 * os.sysconf("SC_PAGE_SIZE")


def test_total_memory_is_the_smaller_of_machine_and_control_group(tmp_path):
    """A container's limit counts, 'max' and files that are not there do not."""
    unlimited, limited = tmp_path / "memory.max", tmp_path / "limit"
    unlimited.write_text("max\n")
    limited.write_text(f"{32 * MIB}\n")
    machine = total_bytes([])
    assert machine > 32 * MIB
    assert total_bytes([unlimited, Path("/nonexistent")]) == machine
    assert total_bytes([unlimited, limited]) == 32 * MIB
    assert CpuDevice().memory_total() <= machine


def test_nothing_is_copied():
    """Weights, inputs and outputs are used where they are."""
    device, tensor = CpuDevice(), torch.ones(3)
    assert device.place(tensor) is tensor
    assert device.upload(tensor) is tensor
    assert device.download([tensor])[0] is tensor
    with device.computing():
        device.synchronise()


def test_threads_hold_for_threads_that_start_later():
    """The device thread runs with as many intra-op threads as were asked for."""
    CpuDevice(threads=1)
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [1]


def test_trim_can_be_called_at_any_time():
    """It gives memory back and breaks nothing."""
    device = CpuDevice()
    kept = torch.ones(1000)
    device.trim()
    assert kept.sum() == 1000
