"""The figures of a GPU, in a process as a worker's device process: `deploy.bench.gpu` starts it."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from deploy.bench.gpu.cases import CASES, Ratio, Size
from shared.errors import ConfigError
from worker.device.base import Device
from worker.device.opening import open_device


def main(arguments: Sequence[str]) -> int:
    """`arguments`: the UUID of the GPU, and the seconds that there are. Exit status: 0 all targets
    are met, 1 one is missed or was not measured, 2 the GPU cannot be used."""
    uuid, seconds = arguments
    try:
        device = open_device("cuda:0", uuid)
    except ConfigError as error:
        print(f"gpu: {error.message}", file=sys.stderr)
        return 2
    gibibytes = device.memory_total() >> 30
    print(f"{device.device_class}, {gibibytes} GiB, torch {torch.__version__}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        return 0 if measured(device, Size(), Path(folder), float(seconds)) else 1


def measured(device: Device, size: Size, folder: Path, seconds: float) -> bool:
    """Measure all cases, each in what is left of the `seconds`; whether all targets are met. A case
    that fails costs its own figures only."""
    until, good = time.monotonic() + seconds, True
    for name, case in CASES.items():
        if time.monotonic() > until:
            print(f"{name}: not measured, as the time is over", flush=True)
            good = False
            continue
        try:
            for ratio in case(device, size, folder):
                show(ratio)
                good = good and ratio.reached
        except Exception as error:
            print(f"{name}: failed: {type(error).__name__}: {error}", flush=True)
            good = False
    return good


def show(ratio: Ratio) -> None:
    """One line of the table."""
    reached = "ok" if ratio.reached else "MISSED"
    print(
        f"{ratio.name:<34} ours {ratio.ours:>10.3f}  reference {ratio.reference:>10.3f} "
        f"{ratio.unit:<10} ratio {ratio.value:>7.3f}  {ratio.target:<8} {reached}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
