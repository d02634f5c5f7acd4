"""`python -m deploy.bench.plain SAMPLES WHEELS FOLDER NAME...`: the models in a plain loop.

Plain torch in one thread, none of our runtime: what the machine can do when nothing is in the way.
Loads each model, writes its answer to FOLDER/NAME.npz, and then takes commands on its standard
input: `run SECONDS` calls models chosen at random, uniformly, and prints `CALLS SECONDS`.
`Plain` is the other end. It also ends when its standard input does.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from deploy.bench.measure import BenchError
from deploy.bench.posts import Tensors, sentence
from deploy.bench.references import environment
from deploy.local.folders import CODE
from deploy.samples import catalogue, store
from deploy.samples.models import crowd
from deploy.samples.sample import Model, Sample
from deploy.samples.wheels import fetch
from shared.errors import NotFound

# Read by torch's libraries when they start: one thread, as a worker has by default.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Plain:
    """The reference process as its caller sees it."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def answer(self, name: str) -> Tensors:
        """What the plain model answers to its `sentence`."""
        with np.load(self._folder / f"{name}.npz", allow_pickle=False) as arrays:
            return dict(arrays)

    def calls_per_second(self, seconds: float) -> float:
        """Run the loop for that time."""
        calls, took = self._ask(f"run {seconds}").split()
        return int(calls) / float(took)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def wait_ready(self) -> None:
        """Return when all models are loaded."""
        self._line()

    def _ask(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("the plain loop's process ended, see its log")
        return line


@contextmanager
def running_plain(
    names: Sequence[str], samples: Path, wheels: Path, folder: Path
) -> Iterator[Plain]:
    """Start the process for these samples; the block begins when it is ready."""
    command = [sys.executable, "-m", "deploy.bench.plain", str(samples), str(wheels), str(folder)]
    with (folder / "plain.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**environment(), **ONE_THREAD},
            cwd=CODE,
        )
    with process:
        try:
            plain = Plain(process, folder)
            plain.wait_ready()
            yield plain
        finally:
            process.kill()  # it holds nothing that could be lost, and may still be loading


def main(samples: Path, wheels: Path, folder: Path, names: Sequence[str]) -> None:
    """The process itself."""
    models = [_load(name, samples, wheels) for name in names]
    inputs = [dict(sentence(name)) for name in names]
    for name, model, given in zip(names, models, inputs, strict=True):
        np.savez(folder / f"{name}.npz", allow_pickle=False, **model(given))
    print("ready", flush=True)
    choose = random.Random(0)
    for line in sys.stdin:
        started, calls = time.perf_counter(), 0
        ends = started + float(line.split()[1])
        while time.perf_counter() < ends:
            at = choose.randrange(len(models))
            models[at](inputs[at])
            calls += 1
        print(calls, time.perf_counter() - started, flush=True)


def _load(name: str, samples: Path, wheels: Path) -> Model:
    sample = _find(name)
    built = store.find(sample, samples)
    if built is None:
        raise BenchError(f"sample {name} is not made")
    return sample.reference(fetch(sample.wheels, wheels), built.files)


def _find(name: str) -> Sample:
    try:
        return crowd.find(name)
    except NotFound:
        return catalogue.find(name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
