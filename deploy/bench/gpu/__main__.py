"""`python -m deploy.bench.gpu`: the tests marked `gpu`, then the figures. At most eight minutes."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.bench.gpu import cases
from deploy.bench.gpu.cases import CASES, Ratio, Size
from deploy.local.folders import CODE

TESTS_S, ALL_S = 180.0, 460.0
MARK = "pytest.mark.gpu"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 measured, 1 a test failed, a case failed or a target was missed, 2 there is no
    GPU that torch can use."""
    parser = argparse.ArgumentParser(prog="python -m deploy.bench.gpu", description=__doc__)
    parser.add_argument("--no-tests", action="store_true", help="measure only")
    options = parser.parse_args(arguments)
    device = cases.open_gpu()
    if isinstance(device, str):
        print(f"gpu: {device}", file=sys.stderr)
        return 2
    until = time.monotonic() + ALL_S
    good = options.no_tests or run_tests(Path(CODE))
    print(f"{device.device_class}, {device.memory_total() >> 30} GiB")
    with tempfile.TemporaryDirectory() as folder:
        for name, case in CASES.items():
            if time.monotonic() > until:
                print(f"{name}: not measured, as the time is over")
                good = False
                continue
            for ratio in case(device, Size(), Path(folder)):
                show(ratio)
                good = good and ratio.reached
    return 0 if good else 1


def show(ratio: Ratio) -> None:
    """One line of the table."""
    reached = "ok" if ratio.reached else "MISSED"
    print(
        f"{ratio.name:<34} ours {ratio.ours:>10.3f}  reference {ratio.reference:>10.3f} "
        f"{ratio.unit:<10} ratio {ratio.value:>7.3f}  {ratio.target:<8} {reached}",
        flush=True,
    )


def run_tests(root: Path) -> bool:
    """Run the files with tests that need a GPU, without the fixtures of the others, which need
    Redis. Each runs in a process that sees the GPUs as this one does."""
    files = [path for path in sorted((root / "tests").rglob("test_*.py")) if MARK in _text(path)]
    command = [
        sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(root),
        "--noconftest", "--import-mode=importlib", "-m", "gpu", *map(str, files),
    ]  # fmt: skip
    paths = os.pathsep.join([str(root), str(root / "deploy/client")])
    try:
        done = subprocess.run(
            command, cwd=root, env={**os.environ, "PYTHONPATH": paths}, timeout=TESTS_S, check=False
        )
    except subprocess.TimeoutExpired:
        print(f"gpu: the tests took over {TESTS_S:.0f} s")
        return False
    return done.returncode == 0


def _text(path: Path) -> str:
    return path.read_text()


if __name__ == "__main__":
    sys.exit(main())
