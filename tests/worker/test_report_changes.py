"""A heartbeat writes what has changed of the report, and all of it from time to time."""

from __future__ import annotations

import pytest

from shared.worker_report import CopyUse, WorkerReport, encode
from tests.helpers.factories import OTHER_REF, REF
from worker import report_changes
from worker.report_changes import ReportChanges


def fields(idle: float = 0, hits: int = 0, size: int = 10, **more: object) -> dict[str, object]:
    copies = {REF: CopyUse("device", size, idle, hits), OTHER_REF: CopyUse("host", 5, 1, 1)}
    return encode(WorkerReport(copies=copies, **more))


@pytest.fixture
def changes() -> ReportChanges:
    """Redis has the report of epoch 1."""
    made = ReportChanges()
    assert made.due("1", fields()) == fields()
    made.written("1", fields())
    return made


def test_of_a_worker_at_rest_nothing_is_written(changes: ReportChanges) -> None:
    """Though its copies have been idle for longer."""
    assert changes.due("1", fields(idle=5000)) == {}


def test_what_has_changed_is_written_once(changes: ReportChanges) -> None:
    """Not what is beside it."""
    due = changes.due("1", fields(busy_share=0.5))
    assert due == {"busy_share": 0.5}
    assert changes.due("1", fields(busy_share=0.5)) == due
    changes.written("1", due)
    assert changes.due("1", fields(busy_share=0.5, idle=1, hits=7)) == {}


def test_a_copy_that_changed_is_shown_at_once(changes: ReportChanges) -> None:
    """Its bytes, or that it is there."""
    assert list(changes.due("1", fields(size=11))) == ["copies"]


def test_after_a_while_or_a_lost_answer_or_in_a_new_epoch_everything_is_written(
    changes: ReportChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when single fields were written meanwhile."""
    assert changes.due("2", fields()) == fields()
    changes.written("2", fields())
    changes.forget()
    assert changes.due("2", fields()) == fields()
    changes.written("2", fields())
    now = report_changes.clock.monotonic()
    changes.written("2", {"used_bytes": 1})
    monkeypatch.setattr(report_changes.clock, "monotonic", lambda: now + 60)
    assert changes.due("2", fields(used_bytes=1)) == fields(used_bytes=1)


def test_of_a_copy_that_is_used_everything_is_written_sooner(
    changes: ReportChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long the others are idle can be told from the time of the report."""
    now = report_changes.clock.monotonic()
    monkeypatch.setattr(report_changes.clock, "monotonic", lambda: now + 10)
    assert changes.due("1", fields(idle=10_000)) == {}
    used = fields(idle=10_000, hits=1)
    assert changes.due("1", used) == used
    changes.written("1", used)
    monkeypatch.setattr(report_changes.clock, "monotonic", lambda: now + 20)
    assert changes.due("1", fields(idle=20_000, hits=1)) == {}
