"""Many BERTs at the same time on one worker: with memory for all of them, and for two thirds."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from deploy.bench.cases import density
from deploy.bench.workbench import Workbench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # it may have to make them first

# `make bench ONLY=density` asks 60 of 100, with more weights of their own.
SIZE = density.Size(registered=30, asked=18, capacity=12, light=True)


def test_more_models_than_fit_are_all_answered(tmp_path: Path) -> None:
    """A random 18 of 30 variants of MiniLM at once, on one device process. The case fails if an
    answer is not plain torch's, or if the worker is ever over its budget."""
    bench = Workbench(tmp_path, 1, 0.3, Console(file=io.StringIO(), width=200))
    figure = density.run(bench, SIZE)
    assert figure.notes["memory for 18: loads"] == "18 (18 to 18)"
    evicting = int(str(figure.notes["memory for 12: loads"]).split()[0])
    assert evicting >= 18
    for room in (18, 12):
        assert 0 < figure.notes[f"memory for {room}: at most so much of the budget used"] <= 1
    assert figure.ratio < 0.5, "modules of plain torch should take far more memory"
