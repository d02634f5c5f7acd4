"""Requests beside random loads, unloads, pins and sessions: what must always hold, does."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from deploy.bench.cases import soak
from deploy.bench.workbench import Workbench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

# `make bench ONLY=soak` sends 20,000 requests.
SIZE = soak.Size(requests=2000)


def test_nothing_gives_way_under_a_seeded_soak(tmp_path: Path) -> None:
    """Every answer right or a clear refusal, no worker over its budget, no model loaded by two
    workers at once, and nothing that is pinned evicted."""
    bench = Workbench(tmp_path, 1, 0.3, Console(file=io.StringIO(), width=200))
    report = soak.measure(bench, SIZE)
    assert report.faults == []
    assert report.asked.right > SIZE.requests / 2
    assert report.kinds["evicted"] > 20, "there was no pressure on memory"
    assert {"load", "unload", "pin", "unpin", "open a session", "close a session"} <= set(
        report.done
    )
    assert report.looks > 10
