"""The clock for all time-based decisions of a process. The simulation replaces it.

Leases and deadlines that are shared between processes use Redis's clock only.
"""

from __future__ import annotations

import time


def monotonic() -> float:
    """Seconds since an arbitrary moment; never decreases."""
    return time.monotonic()
