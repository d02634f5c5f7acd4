"""`python -m deploy.bench.gpu`: the tests marked `gpu`, then the figures. At most eight minutes.

Both run in processes of their own, on a GPU that no worker of this host has, and with what a worker
gives its device process: so the allocator is the worker's, and only this GPU is visible.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.bench.gpu import needs

if TYPE_CHECKING:  # a bare machine lacks what it imports
    from worker.supervisor.gpu_claim import GpuClaim

ROOT = Path(__file__).resolve().parents[3]
TESTS_S, ALL_S = 180.0, 450.0
MARK = "pytest.mark.gpu"
PLUGIN = "deploy.bench.gpu.own_tests"


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Exit status: 0 all is well, 1 a test failed or a figure missed its target, 2 there is no GPU
    that can be used, or a package is missing."""
    parser = argparse.ArgumentParser(prog="python -m deploy.bench.gpu", description=__doc__)
    parser.add_argument("--no-tests", action="store_true", help="measure only")
    options = parser.parse_args(arguments)
    until = time.monotonic() + ALL_S
    if why := needs.bring(root):
        print(f"gpu: {why}", file=sys.stderr)
        return 2
    from worker.supervisor.gpu_claim import GpuClaim  # with packages that were just brought

    claim = GpuClaim()  # held until this process ends
    env = worker_environment(claim, root)
    if isinstance(env, str):
        print(f"gpu: {env}", file=sys.stderr)
        return 2
    good = options.no_tests or run_tests(root, env)
    return max(run_figures(root, env, until - time.monotonic()), int(not good))


def worker_environment(claim: GpuClaim, root: Path) -> dict[str, str] | str:
    """Claim a GPU; the environment of a worker's device process on it, or why there is none."""
    from shared.errors import WarmrouteError
    from worker.device import torch_build

    if not torch_build.has_cuda():
        return "the torch here was built without CUDA"
    try:
        given = asyncio.run(claim.take("cuda", os.environ, 0.0, asyncio.Event()))
    except WarmrouteError as error:
        return error.message
    return {**os.environ, **given, "PYTHONPATH": module_paths(root)}


def run_tests(root: Path, env: Mapping[str, str]) -> bool:
    """Run the files with tests that need a GPU, without the fixtures of the others, which need
    Redis."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-ra", "-c", os.devnull, "--rootdir", str(root),
        "--noconftest", "--import-mode=importlib", "-p", PLUGIN, "-p", "no:cacheprovider",
        "-m", "gpu", *map(str, test_files(root)),
    ]  # fmt: skip
    return _run(command, root, env, TESTS_S, "tests") == 0


def run_figures(root: Path, env: Mapping[str, str], seconds: float) -> int:
    """Measure on the GPU that `env` shows; the exit status of that process."""
    uuid = env.get("CUDA_VISIBLE_DEVICES", "")
    command = [sys.executable, "-m", "deploy.bench.gpu.figures", uuid, f"{seconds:.0f}"]
    return _run(command, root, env, seconds, "figures")


def _run(
    command: Sequence[str], root: Path, env: Mapping[str, str], seconds: float, what: str
) -> int:
    try:
        return subprocess.run(
            command, cwd=root, env=env, timeout=max(seconds, 1), check=False
        ).returncode
    except subprocess.TimeoutExpired:
        print(f"gpu: the {what} took over {seconds:.0f} s", file=sys.stderr)
        return 1


def module_paths(root: Path) -> str:
    """Where processes find modules: ours, those of whoever called, and those that were brought."""
    given = filter(None, [os.environ.get("PYTHONPATH")])
    return os.pathsep.join([str(root), str(root / "deploy/client"), *given, str(needs.site(root))])


def test_files(root: Path) -> list[Path]:
    """The files with tests that need a GPU."""
    files = sorted((root / "tests").rglob("test_*.py"))
    return [path for path in files if MARK in path.read_text()]


if __name__ == "__main__":
    sys.exit(main())
