"""Takes the self-tests out of a worker, for a control run: put the folder on its PYTHONPATH.

Python imports this module at the start of each process, before any of the worker's.
"""

from __future__ import annotations

import sys
import threading
import time

PATCHED_S = 60.0


def _without_tests() -> None:
    """Wait for the class, which is imported long before the worker serves."""
    ends = time.monotonic() + PATCHED_S
    while time.monotonic() < ends:
        found = getattr(sys.modules.get("worker.device.thread"), "DeviceThread", None)
        if found is not None:
            found.examine = lambda self, error, requests=0: None
            return
        time.sleep(0.01)


if "worker.process" in getattr(sys, "orig_argv", ()):
    threading.Thread(target=_without_tests, daemon=True).start()
