"""The one clock of a process for what it decides by time. The simulation replaces it.

Leases and deadlines that others rely on are counted by Redis's clock only.
"""

from __future__ import annotations

import time


def monotonic() -> float:
    """Seconds since some moment; never goes back."""
    return time.monotonic()
