"""The table has every failpoint of the code, and nothing else."""

from __future__ import annotations

import pytest

from tests.failpoints.points import MAIN, points_of, scripts_run
from tests.failpoints.table import runs


@pytest.mark.parametrize("kind", MAIN)
def test_every_point_that_a_process_can_reach_is_in_the_table_once(kind: str) -> None:
    """A script that is called, or a point that is named, has a run in which it kills."""
    listed = [run.point for run in runs() if run.kind == kind]
    assert sorted(listed) == sorted(points_of(kind))


def test_every_script_is_called_by_some_process() -> None:
    """So none is left out of the table by being found nowhere."""
    found = {point.partition(".")[0] for kind in MAIN for point in points_of(kind)}
    assert scripts_run() <= found
