"""Plants a bug in a worker, for a control run: put the folder on its PYTHONPATH, and the bug's name
into PLANTED. Python imports this module at the start of each process, before any of the worker's.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

PATCHED_S = 60.0


def self_tests_never_run(device_thread: Any) -> None:
    """A device that fails is not noticed."""
    device_thread.DeviceThread.examine = lambda self, error, requests=0: None


def models_are_blamed(load_lease: Any) -> None:
    """For what this worker's disk, store or clock makes fail; nor does it notice."""
    load_lease.scope_of = lambda error: "model"
    sys.modules["worker.health.health"].Health.load_failed = lambda self, ref, error: None


def one_crash_convicts(script_runner: Any) -> None:
    """A model is quarantined although one worker alone crashed."""
    read, five, one = script_runner.read_lua, "LONGEST = 5, 3,", "LONGEST = 1, 1,"

    def read_lua(name: str) -> str:
        text = read(name)
        assert name != "lib/crashes" or five in text
        return str(text.replace(five, one))

    script_runner.read_lua = read_lua


# By name: a module that is imported long before the worker serves, whose processes, the bug.
BUGS: dict[str, tuple[str, str, Callable[[Any], None]]] = {
    "self_tests_never_run": ("worker.device.thread", "worker.process", self_tests_never_run),
    "models_are_blamed": ("worker.loading.load_lease", "worker.process", models_are_blamed),
    "one_crash_convicts": ("shared.script_runner", "worker", one_crash_convicts),
}


def _plant(module: str, bug: Callable[[Any], None]) -> None:
    ends = time.monotonic() + PATCHED_S
    while time.monotonic() < ends:
        found, spec = sys.modules.get(module), getattr(sys.modules.get(module), "__spec__", None)
        if found is not None and not getattr(spec, "_initializing", False):
            bug(found)
            return
        time.sleep(0.01)


_module, _process, _bug = BUGS[os.environ["PLANTED"]]
if _process in getattr(sys, "orig_argv", ()):
    threading.Thread(target=_plant, args=(_module, _bug), daemon=True).start()
