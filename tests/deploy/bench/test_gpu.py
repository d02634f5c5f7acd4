"""The figures of a GPU, measured on a CPU with little of everything: that they can be measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.bench.gpu import __main__ as bench
from deploy.bench.gpu import cases, models
from deploy.bench.gpu.cases import MIB, Ratio, Size
from worker.device.cpu import CpuDevice

TINY = {"vocab_size": 50, "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 2,
        "intermediate_size": 16}  # fmt: skip
SMALL = Size(
    swap_bytes=2 * MIB, rounds=1, berts=3, sizes=TINY, tokens=4, seconds=0.01, cycles=20,
    model_mib=(1, 3), held_bytes=8 * MIB,
)  # fmt: skip


@pytest.mark.parametrize("name", cases.CASES)
def test_each_case_gives_ratios(name: str, tmp_path: Path) -> None:
    """Of positive figures, each under a name of its own."""
    found = list(cases.CASES[name](CpuDevice(), SMALL, tmp_path))
    assert len({ratio.name for ratio in found}) == len(found) >= 2
    assert all(ratio.reference > 0 and ratio.ours >= 0 for ratio in found)


def test_the_berts_answer_as_their_plain_module(tmp_path: Path) -> None:
    """The first one, which is not tuned; the others differ from it."""
    made = models.make(tmp_path, 2, TINY)
    asked = models.question(2, 4, 50)
    first, second = (bert.load(CpuDevice()).run(asked)["embedding"] for bert in made.berts)
    plain = made.plain(*(cases.torch.as_tensor(array) for array in asked.values())).numpy()
    assert abs(first - plain).max() < 1e-5
    assert abs(second - plain).max() > 0


def test_a_target_bounds_from_above_or_from_below() -> None:
    """Loads that failed must be none; a reference of nothing is never reached."""
    assert Ratio("a", 9, 10, "x", 0.85).reached and not Ratio("a", 8, 10, "x", 0.85).reached
    assert Ratio("a", 0, 500, "x", 0.0, most=True).reached
    assert not Ratio("a", 1, 500, "x", 0.0, most=True).reached
    assert not Ratio("a", 1, 0, "x", 0.3, most=True).reached


@pytest.mark.skipif(cases.torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """And measures nothing."""
    assert bench.main([]) == 2
    assert "gpu: " in capsys.readouterr().err


def test_the_gpu_tests_are_found_and_run_without_the_fixtures_of_others() -> None:
    """On a CPU each of them is skipped, which is no failure: none fails to be collected."""
    assert bench.run_tests(Path(bench.CODE))


def test_tests_that_fail_are_a_failure(tmp_path: Path) -> None:
    """And tests that do not end."""
    folder = tmp_path / "tests"
    folder.mkdir()
    marked = f"import pytest\npytestmark = {bench.MARK}\n"
    (folder / "test_a.py").write_text(f"{marked}def test_a():\n    assert False\n")
    assert not bench.run_tests(tmp_path)
    assert os.fspath(bench.CODE)
