"""`python -m tests.fuzz --seconds 60 [--only NAME]`: coverage-guided fuzzing of every decoder.

Each target runs in a process of its own, as libFuzzer ends the process it runs in. What it finds
is written to `.fuzz/<target>/crash-...`, to be given as an argument for replay.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import atheris

FOLDER = Path(".fuzz")


def fuzz(name: str, seconds: int, replay: str) -> None:
    """Fuzz one target in this process; libFuzzer ends it."""
    with atheris.instrument_imports(include=["shared", "router", "worker"]):
        from tests.fuzz.targets import SEEDS, TARGETS
    folder = FOLDER / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS.get(name, [])):
        (corpus / f"seed-{number}").write_bytes(seed)
    what = [replay] if replay else [f"-max_total_time={seconds}", "-max_len=4096", str(corpus)]
    atheris.Setup([sys.argv[0], f"-artifact_prefix={folder}/", "-print_final_stats=1", *what],
                  TARGETS[name])  # fmt: skip
    atheris.Fuzz()


def main() -> int:
    """All targets, one after the other; 1 if one found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=60, help="of all targets together")
    parser.add_argument("--only", default="", help="one target, in this process")
    parser.add_argument("--replay", default="", help="a crash file of that target")
    options = parser.parse_args()
    if options.only:
        fuzz(options.only, options.seconds, options.replay)
        return 0
    from tests.fuzz.targets import TARGETS

    each = str(max(1, options.seconds // len(TARGETS)))
    failed = [name for name in TARGETS if not _run(name, each)]
    print(f"{len(TARGETS)} decoders fuzzed for {each} s each, failed: {failed or 'none'}")
    return 1 if failed else 0


def _run(name: str, seconds: str) -> bool:
    command = [sys.executable, "-m", "tests.fuzz", "--only", name, "--seconds", seconds]
    run = subprocess.run(command, capture_output=True, text=True)
    stats = [line for line in run.stderr.splitlines() if "number_of_executed_units" in line]
    print(f"{name}: {stats[0].split()[-1] if stats else '?'} inputs, status {run.returncode}")
    if run.returncode:
        print(run.stderr[-3000:])
    return run.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
