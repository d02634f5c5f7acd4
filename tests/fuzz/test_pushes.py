"""A part of what `python -m tests.fuzz.pushes` does, with one seed, in a process of its own: a fork
of a test run would take its threads' locks along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(900)
def test_no_file_brings_a_stack_or_half_a_version() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.pushes", "--count", "100", "--seed", "20"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "no fault" in run.stdout
