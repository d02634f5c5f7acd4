"""What follows a device process: another one, when, on probation or not, or none (I40)."""

from __future__ import annotations

import pytest

from worker.health.failure_row import LASTING_S
from worker.health.health import DISK_SICK_S
from worker.supervisor.progress import Progress
from worker.supervisor.restart import (
    DEVICE_ASSERT,
    DEVICE_LOST,
    RECYCLED,
    SICK,
    SUSPECT_FROM,
    RestartRequest,
    SickRow,
)
from worker.supervisor.succession import Succession

SIGKILL = -9


class Ended:
    """A device process that lived for so long; `ref` ran when it ended."""

    def __init__(self, lived_s: float = 5.0, ref: str = "") -> None:
        self.lived_s = lived_s
        self.progress = Progress()
        if ref:
            self.progress.start(7, 0.0, ref)

    def cause(self, status: int) -> str:
        return f"status {status}"


def waits(statuses: list[int], ended: Ended | None = None) -> list[float | None]:
    succession = Succession("w1")
    return [succession.wait_s(ended or Ended(), status) for status in statuses]


@pytest.mark.parametrize("status", [SICK, DEVICE_LOST])
def test_a_worker_that_is_sick_again_and_again_ends_for_good(
    status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a last line that says why."""
    assert waits([status] * 5) == [0, 5, 10, 20, None]
    (line,) = capsys.readouterr().err.splitlines()
    why = f"it was sick 5 times in a row, the last: status {status}"
    assert line == f"warmroute worker: w1 ends for good: {why}"


def test_a_crash_loop_goes_on_and_its_processes_are_on_probation() -> None:
    """What crashes them may be a request; so others are asked first."""
    succession, suspect = Succession("w1"), []
    for _ in range(50):
        assert succession.wait_s(Ended(), SIGKILL) is not None
        suspect.append(bool(succession.suspect))
    assert suspect == [number >= SUSPECT_FROM for number in range(1, 51)]
    assert "crashed 50 times in a row, the last: status -9" in succession.suspect
    succession.wait_s(Ended(lived_s=60), SIGKILL)
    assert not succession.suspect


def test_inputs_that_stop_the_device_never_end_a_worker() -> None:
    """Anybody can send them."""
    assert None not in waits([DEVICE_ASSERT] * 100)


def test_one_model_that_breaks_the_device_never_ends_a_worker() -> None:
    """It breaks every device; several models on one are another matter."""
    assert None not in waits([DEVICE_LOST] * 100, Ended(ref="m:1:aa"))
    succession = Succession("w1")
    found = [succession.wait_s(Ended(ref=f"m{n % 2}:1:aa"), DEVICE_LOST) for n in range(5)]
    assert found[-1] is None


def test_a_loss_before_it_served_counts_each_time() -> None:
    """The device cannot even be opened."""
    row = SickRow(most=3)
    assert [row.after(1.0, 7), row.after(1.0), row.after(1.0)] == [0, 5, None]


def test_a_process_that_lived_long_ends_the_row() -> None:
    """A GPU that is lost once a day is restarted each time."""
    row = SickRow(most=3)
    assert None not in [row.after(row.settled_s) for _ in range(20)]


@pytest.mark.parametrize("found_after_s", [LASTING_S, DISK_SICK_S])
def test_a_sickness_that_shows_after_minutes_ends_a_worker_too(found_after_s: float) -> None:
    """A process that lived until then has not shown that the worker is well."""
    assert waits([SICK] * 5, Ended(lived_s=found_after_s + 60))[-1] is None


def test_one_that_asked_for_a_restart_is_replaced_at_once_and_not_suspect() -> None:
    """Unless it asks again and again."""
    succession = Succession("w1")
    assert [succession.wait_s(Ended(), RECYCLED) for _ in range(3)][:2] == [0, 0]
    assert succession.not_before_s > 0 and not succession.suspect


def test_the_status_of_a_process_is_what_it_asked_for() -> None:
    """A signal to stop takes that back."""
    request, found = RestartRequest(), []
    found.append(request.status)
    request.request("leak")
    found.append(request.status)
    request.leave_sick("disk")
    found.append(request.status)
    request.withdraw()
    assert [*found, request.status] == [0, RECYCLED, SICK, 0]
