"""The CPU as a device: honest bytes, no copies, one thread."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
import torch

from worker.device.cpu import CpuDevice, anonymous_bytes, resident_bytes
from worker.device.hosting import map_bytes

MIB = 1 << 20


def test_used_memory_grows_with_what_is_touched():
    """Resident bytes rise by about what was written."""
    device = CpuDevice()
    device.trim()
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
    assert anonymous_bytes(statm) == 4 * os.sysconf("SC_PAGE_SIZE")


def test_what_tensors_hold_is_counted_and_what_files_back_is_not(tmp_path):
    """Mapped weights are the page cache's; heap is this process's own."""
    device = CpuDevice()
    path = tmp_path / "blob"
    path.write_bytes(bytes(64 * MIB))
    device.trim()
    before = device.allocated()
    hosted = device.host(map_bytes(path, 64 * MIB))
    assert abs(device.allocated() - before) < 16 * MIB
    held = torch.ones(64 * MIB, dtype=torch.uint8)
    assert 48 * MIB < device.allocated() - before < 96 * MIB
    assert device.reserved() >= held.numel()
    assert hosted.numel() == held.numel()


def test_the_figures_of_a_process_alone_on_its_cpu():
    """Its overhead was measured when the device was opened, before any model."""
    CpuDevice().trim()  # what other tests have freed is kept, and would be held again
    device = CpuDevice()
    held = torch.ones(64 * MIB, dtype=torch.uint8)
    assert 0 < device.overhead() < device.allocated() - held.numel() // 2
    assert device.others() == 0
    assert (device.device_class, device.uuid) == ("cpu", "")


def test_kept_weights_are_in_memory_at_once(tmp_path):
    """Each page of the mapping has been touched, and it is the mapping that is kept."""
    device = CpuDevice()
    path = tmp_path / "blob"
    path.write_bytes(bytes(64 * MIB))
    before = device.memory_used()
    content = map_bytes(path, 64 * MIB)
    assert device.host(content) is content
    assert device.memory_used() - before > 48 * MIB


def test_nothing_is_copied():
    """Weights, inputs and outputs are used where they are."""
    device, tensor = CpuDevice(), torch.ones(3)
    assert device.place(tensor) is tensor
    assert device.place_all({"w": tensor})["w"] is tensor
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


def test_what_is_live_is_counted_to_the_byte_and_what_was_freed_is_slack():
    """A freed block stays for the next call, until it is asked back. In a process of its own: in
    this one other tests' threads free memory whenever they like."""
    if CpuDevice().live() is None:
        pytest.skip("only glibc 2.33 and later can tell")
    run = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


COUNTED = """
import torch
from worker.device.cpu import CpuDevice

MIB = 1 << 20
device = CpuDevice()
device.trim()
before, slack = device.live(), device.slack()
held = torch.ones(64 * MIB, dtype=torch.uint8)
assert abs(device.live() - before - held.numel()) < MIB
assert device.slack() - slack < 8 * MIB
del held
assert abs(device.live() - before) < MIB
assert device.slack() > 56 * MIB
device.trim()
assert device.slack() < 8 * MIB
"""
