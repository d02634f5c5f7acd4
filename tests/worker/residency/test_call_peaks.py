"""What calls take while they run: allowed within a share of the budget, counted beyond it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared import clock
from shared.envelope import Outcome
from tests.helpers.evicting import Model, own
from tests.helpers.factories import REF, manifest, tensor
from worker.device.cpu import CpuDevice
from worker.device.resident_peak import Resident, ResidentPeak
from worker.residency.call_peaks import (
    FEW_CALLS,
    FLOOR,
    REMEMBERED_S,
    CallPeaks,
    allowance,
    most_of_peak,
)
from worker.residency.copies import Copy
from worker.residency.gauge import Gauge
from worker.residency.growth import watched

MIB = 1 << 20


@pytest.fixture
def copy() -> Copy:
    return Copy(REF, manifest(), Model(), own(10))


class Heap:
    """A device whose heap keeps `left` bytes."""

    left = 0
    trims = 0

    def slack(self) -> int:
        return self.left

    def trim(self) -> None:
        self.trims += 1


def test_one_large_call_proves_nothing() -> None:
    """Else one caller could have a model refused to all; a few of the same size do."""
    peaks = CallPeaks()
    peaks.found("m", 70, size=10)
    assert peaks.excess("m") == 0
    for _ in range(FEW_CALLS):
        peaks.ran("m", size=9)  # smaller ones are not like it
    assert peaks.excess("m") == 0
    for _ in range(FEW_CALLS - 1):
        peaks.ran("m", size=10)
    assert peaks.excess("m") == 70 and peaks.excess("other") == 0
    peaks.found("m", 90, size=20)
    assert peaks.excess("m") == 90


def test_what_is_not_seen_again_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that was refused for it is tried again."""
    peaks, now = CallPeaks(), clock.monotonic()
    for _ in range(FEW_CALLS):
        peaks.found("m", 70, size=10)
    assert peaks.excess("m") == 70
    monkeypatch.setattr(clock, "monotonic", lambda: now + REMEMBERED_S + 5)
    assert peaks.excess("m") == 0


def test_a_call_may_take_half_the_budget_and_never_less_than_the_floor() -> None:
    """Where the budget is tiny, what the libraries of a process take is larger than it."""
    assert allowance(10_000_000) == FLOOR
    assert allowance(1 << 30) == 512 * MIB
    assert allowance(1 << 30, "cuda") == 256 * MIB  # of 1.25 GiB, of which 1 GiB is for models
    peaks = CallPeaks(lambda: allowance(10_000_000))
    for _ in range(FEW_CALLS):
        peaks.found("small", 11_000_000, size=1)
        peaks.found("large", FLOOR + 5, size=1)
    assert peaks.excess("small") == 0 and peaks.excess("large") == 5


def test_what_is_counted_leaves_a_rest_of_the_budget() -> None:
    """And is never negative."""
    assert most_of_peak(100, 60) == 30
    assert most_of_peak(100, 95) == most_of_peak(100, 400) == 0


def test_a_recorded_peak_holds_for_another_worker_by_its_own_allowance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For a while; and what it has seen itself counts for more."""
    peaks, now = CallPeaks(), clock.monotonic()
    for _ in range(FEW_CALLS):
        peaks.found("m", 70, size=10)
    found = peaks.known("m")
    assert found is not None
    other = CallPeaks(lambda: 30)
    other.recall("m", found.text())
    assert other.excess("m") == 40
    peaks.recall("m", "900 1")
    assert peaks.excess("m") == 70
    monkeypatch.setattr(clock, "monotonic", lambda: now + REMEMBERED_S + 5)
    assert other.excess("m") == 0


@pytest.mark.parametrize("text", ["", "7", "1 2 3", "-1 2", "a b", "1.5 2", "٣ 4"])
def test_a_record_that_is_no_peak_counts_nothing(text: str) -> None:
    """A cell may hold what another version has written."""
    peaks = CallPeaks()
    peaks.recall("m", text)
    assert peaks.excess("m") == 0


def test_the_kernel_says_what_a_call_took() -> None:
    """Memory that was free again before it returned; what it kept is booked elsewhere."""
    device = CpuDevice()
    device.trim()
    peak = ResidentPeak(device, lambda: 20 * MIB)
    before = peak.start()
    if before is None:
        pytest.skip("this kernel does not reset the highest resident size")
    kept = np.ones(10 * MIB, "u1")
    gone = np.ones(90 * MIB, "u1")
    del gone
    assert 75 * MIB < peak.taken(before, kept=kept.nbytes) < 100 * MIB
    again = peak.start()
    assert again is not None and peak.taken(again, kept=0) < MIB


def test_pages_of_files_are_no_peak(tmp_path: Path) -> None:
    """Weights that are touched for the first time are in the ledger."""
    (tmp_path / "clear_refs").touch()
    status = tmp_path / "status"
    peak = ResidentPeak(Heap(), lambda: 0, tmp_path)
    status.write_text("VmHWM:\t 100 kB\nVmRSS:\t 100 kB\nRssFile:\t 20 kB\n")
    before = peak.start()
    assert before == Resident(100 << 10, 20 << 10, 100 << 10)
    status.write_text("VmHWM:\t 170 kB\nVmRSS:\t 160 kB\nRssFile:\t 80 kB\n")
    assert peak.taken(before, kept=0) == 10 << 10


def test_slack_that_could_hide_a_peak_is_trimmed_first(tmp_path: Path) -> None:
    """Only then: a trim takes a while."""
    heap = Heap()
    peak = ResidentPeak(heap, lambda: 50, tmp_path)
    heap.left = 49
    assert peak.start() is None  # and a kernel that says nothing is no error
    heap.left = 50
    peak.start()
    assert heap.trims == 1


def test_a_call_is_measured_once_and_then_known_by_its_size(
    copy: Copy,
) -> None:
    """The warm path pays a comparison."""
    measured: list[int] = []

    class Peak(ResidentPeak):
        def start(self) -> Resident:
            measured.append(1)
            return Resident(0, 0, 0)

        def taken(self, before: Resident, kept: int) -> int:
            return 70 * MIB

    gauge = Gauge(lambda: 0, peak=Peak(Heap(), lambda: 0))
    peaks = CallPeaks()
    answer = [Outcome([tensor(np.zeros(1, "u1"))])]
    for _ in range(FEW_CALLS):
        watched(gauge, copy, 8, lambda: answer, peaks)
    assert len(measured) == 1
    assert peaks.excess(copy.ref) == 70 * MIB
