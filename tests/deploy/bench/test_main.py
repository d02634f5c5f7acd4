"""The command: which cases run, what it prints, and how it ends."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from deploy.bench.__main__ import exit_status, main, measure
from deploy.bench.cases import CASES
from deploy.bench.measure import BenchError
from deploy.bench.results import Figure, Target, alone, load
from deploy.bench.workbench import Case, Workbench

MISSED = alone("t", "ms", [2.0], target=Target(of="ours", at_most=1))
REACHED = alone("t", "ms", [1.0], target=Target(of="ours", at_most=1))


def failing(bench: Workbench) -> Figure:
    raise BenchError("post 3: HTTP/1.1 503 Busy")


def bench_in(folder: Path) -> Workbench:
    return Workbench(folder, 1, 0.1, Console(file=io.StringIO(), width=200))


def test_every_case_has_a_name_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Those that the target list and `make bench ONLY=` use."""
    assert main(["--list"]) == 0
    names = capsys.readouterr().out.split()
    assert names == [
        "mlp_json_64",
        "mlp_json_1",
        "binary_1mib",
        "warm_variants",
        "cold_disk",
        "cold_s3",
        "herd",
        "density",
        "churn",
        "hot",
        "interference",
        "fairness",
        "cycles",
        "soak",
        "profile",
        "idle",
        "scale",
        "collapse",
        "listings",
    ]
    assert len(CASES) == len(set(names))


@pytest.mark.parametrize(
    "arguments", [["--only", "nosuch"], ["--rounds", "0"], ["--seconds", "0"], ["--seconds", "inf"]]
)
def test_what_cannot_be_measured_is_refused_at_once(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With the usage, and the names there are."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m deploy.bench" in capsys.readouterr().err


def test_a_missed_target_is_an_error_only_when_that_is_asked_for() -> None:
    """A case that could not be measured always is."""
    assert exit_status({"a": MISSED}, failed=False, strict=False) == 0
    assert exit_status({"a": MISSED}, failed=False, strict=True) == 1
    assert exit_status({"a": REACHED}, failed=False, strict=True) == 0
    assert exit_status({"a": REACHED}, failed=True, strict=False) == 1


def test_a_case_whose_limits_hold_anywhere_fails_the_run_when_it_misses_one() -> None:
    """What scripts cost in a large fleet is no question of the machine."""
    assert exit_status({"scale": MISSED}, failed=False, strict=False) == 1
    assert exit_status({"collapse": MISSED, "idle": REACHED}, failed=False, strict=False) == 1
    assert exit_status({"scale": REACHED, "herd": MISSED}, failed=False, strict=False) == 0


def test_a_case_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    """Its cause is shown, the others' figures are written, and it has none."""
    bench = bench_in(tmp_path)
    cases = [Case("broken", failing), Case("fine", lambda bench: REACHED)]
    figures, failed = measure(bench, cases)
    assert failed
    assert list(figures) == ["fine"]
    assert list(load(tmp_path / "results.json")) == ["fine"]
    printed = bench.console.file.getvalue()
    assert "broken: not measured: post 3: HTTP/1.1 503 Busy" in printed
    assert "cores" in printed


def test_figures_say_on_which_machine_they_were_measured(tmp_path: Path) -> None:
    """Cores and versions, and when."""
    measure(bench_in(tmp_path), [Case("fine", lambda bench: REACHED)])
    written = load(tmp_path / "results.json")["fine"]
    assert {"cores", "python", "redis-server", "aiohttp", "torch"} <= written.machine.keys()
    assert written.measured_at
