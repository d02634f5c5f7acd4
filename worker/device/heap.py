"""The C library's heap of this process: what was freed shall go back to the system when asked.

glibc gives each thread an arena of its own, and never returns the free end of one but the main's.
Models are allocated by loader threads and freed by the device thread, so their bytes would stay
there (measured with TorchScript: all 16 MiB of one, for as long as the process lived). With one
arena for all threads they come back; a thread's small objects have caches of their own, and a
model's calls took no more processor time.
"""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8


def use_one_arena() -> None:
    """From now on no further arena is made: call it before threads that load models start. Without
    glibc, do nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def trim() -> None:
    """Return free heap to the system; without glibc, do nothing."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
