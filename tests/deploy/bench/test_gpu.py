"""The figures of a GPU, measured on a CPU with little of everything: that they can be measured."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.bench.gpu import __main__ as bench
from deploy.bench.gpu import cases, figures, models, needs
from deploy.bench.gpu.cases import MIB, Ratio, Size
from shared.errors import ConfigError
from worker.device import torch_build
from worker.device.cpu import CpuDevice
from worker.device.inventory import Gpu
from worker.supervisor.gpu_claim import environment

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


def test_both_parts_run_as_a_device_process_on_a_gpu_of_their_own(monkeypatch) -> None:
    """Claimed, so a worker or a second run beside it is not disturbed, and does not disturb."""
    claimed: list[str] = []

    class Claim:
        async def take(self, requested: str, env: object, wait_s: float, stopping: object):
            claimed.append(requested)
            if len(claimed) > 1:
                raise ConfigError("no GPU is free: the only one is held by another worker")
            return environment(Gpu(0, "GPU-7", "H"), requested, {})

    monkeypatch.setattr(torch_build, "has_cuda", lambda: True)
    monkeypatch.setenv("PYTHONPATH", "/carried")
    env = bench.worker_environment(Claim(), bench.ROOT)  # type: ignore[arg-type]
    assert isinstance(env, dict)
    assert env["CUDA_VISIBLE_DEVICES"] == "GPU-7" and "expandable" in env["PYTORCH_ALLOC_CONF"]
    paths = env["PYTHONPATH"].split(os.pathsep)
    assert paths[0] == str(bench.ROOT) and "/carried" in paths
    assert paths[-1] == str(needs.site(bench.ROOT))
    assert "held by another" in str(bench.worker_environment(Claim(), bench.ROOT))  # type: ignore[arg-type]


def test_a_case_that_fails_costs_its_own_figures_only(
    monkeypatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As does one for which there is no time."""

    def broken(*given: object) -> list[Ratio]:
        raise RuntimeError("no such kernel")

    good = [Ratio("whole", 9, 10, "x", 0.85)]
    two = {"broken": broken, "whole": lambda *given: good}
    monkeypatch.setattr(figures, "CASES", two)
    assert not figures.measured(CpuDevice(), SMALL, tmp_path, 60)
    out = capsys.readouterr().out
    assert "broken: failed: RuntimeError: no such kernel" in out and "whole" in out
    monkeypatch.setattr(figures, "CASES", {"whole": two["whole"]})
    assert figures.measured(CpuDevice(), SMALL, tmp_path, 60)
    assert not figures.measured(CpuDevice(), SMALL, tmp_path, -1)


def test_the_gpu_tests_are_found_whatever_packages_are_installed(tmp_path: Path) -> None:
    """On a CPU each of them is skipped, which is no failure: none fails to be collected, though an
    installed package is called `tests` too."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/__init__.py").touch()
    paths = bench.module_paths(bench.ROOT) + os.pathsep + str(tmp_path)
    assert bench.run_tests(bench.ROOT, {**os.environ, "PYTHONPATH": paths})


def test_tests_that_fail_are_a_failure(tmp_path: Path) -> None:
    """And the whole run's."""
    folder = tmp_path / "tests"
    folder.mkdir()
    marked = f"import pytest\npytestmark = {bench.MARK}\n"
    (folder / "test_a.py").write_text(f"{marked}def test_a():\n    assert False\n")
    env = {**os.environ, "PYTHONPATH": bench.module_paths(bench.ROOT)}
    assert not bench.run_tests(tmp_path, env)


def test_a_part_that_hangs_is_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The other part is run all the same."""
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert bench._run(command, tmp_path, os.environ, 1, "tests") == 1
    assert "the tests took over 1 s" in capsys.readouterr().err


def test_what_a_bare_machine_lacks_is_brought_from_its_wheels(tmp_path: Path, monkeypatch) -> None:
    """Without a network; what cannot be had is named with the way to it."""
    name = f"warmroute_brought_{os.getpid()}"
    wheel = tmp_path / needs.WHEELS / f"{name}-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(f"{name}.py", "there = True\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    (tmp_path / "constraints.txt").write_text(f"{name}==1.0\nother==2\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert needs.bring(tmp_path, {name: name}) == ""
    assert needs.missing({name: name}) == []
    why = needs.bring(tmp_path, {name: name, "other": "warmroute_not_there"})
    assert "lacks other" in why and "pip download --no-deps -d .wheels other==2" in why
    assert "has no torch" in needs.bring(tmp_path, {"torch": "warmroute_not_there"})


def test_nothing_else_is_needed(tmp_path: Path) -> None:
    """A bare machine has no Redis client, no HTTP server, no store: neither the tests nor the
    figures import one."""
    allowed = sorted({*needs.PACKAGES.values(), "deploy", "shared", "worker", "tests", "google"})
    code = BARE.format(allowed=allowed, files=[str(path) for path in bench.test_files(bench.ROOT)])
    env = {**os.environ, "PYTHONPATH": bench.module_paths(bench.ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


# Direct imports of modules of ours are checked: what a package of the list needs comes with it.
BARE = """
import builtins, importlib.util, sys
allowed = set({allowed}) | set(sys.stdlib_module_names)
real = builtins.__import__

def watched(name, given=None, local=None, names=(), level=0):
    by = (given or {{}}).get("__name__", "").partition(".")[0]
    top = name.partition(".")[0]
    if not level and by in ("deploy", "shared", "worker", "tests") and top not in allowed:
        raise ImportError(f"{{given['__name__']}} imports {{name}}")
    return real(name, given, local, names, level)

builtins.__import__ = watched
import deploy.bench.gpu.own_tests, deploy.bench.gpu.__main__, deploy.bench.gpu.figures
import worker.device.cuda, worker.supervisor.gpu_claim
for number, path in enumerate({files}):
    spec = importlib.util.spec_from_file_location(f"tests.gpu{{number}}", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""
