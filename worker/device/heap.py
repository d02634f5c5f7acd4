"""The C library's heap of this process: its size, and when memory returns to the system.

glibc gives each thread an arena of its own, and returns the free end of the main arena only. Models
are allocated by loader threads and freed by the device thread, so their bytes would stay (measured
with TorchScript: all 16 MiB of one, for as long as the process lived). With one arena for all
threads they are returned; small objects have caches per thread, and the calls of a model took no
more processor time.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_MOST = (1 << 31) - 1


class _Info(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later. Bytes."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    ]  # fmt: skip


def _function(name: str) -> ctypes._NamedFuncPointer | None:
    return getattr(ctypes.CDLL(None), name, None)


_mallinfo2 = _function("mallinfo2")
if _mallinfo2 is not None:
    _mallinfo2.restype = _Info


def use_one_arena() -> None:
    """Make no further arena: to be called before threads that load models start. No effect without
    glibc."""
    _set(_M_ARENA_MAX, 1)


def keep_what_is_freed() -> None:
    """Keep freed memory until `trim`, which the caller has to call in idle moments. glibc returns
    each block of 32 MiB or more at once, and the next call of a model has to map all its pages
    again: three convolutions of 900 x 900 took 2.8 times as long."""
    _set(_M_MMAP_MAX, 0)
    _set(_M_TRIM_THRESHOLD, _MOST)


def in_use() -> int | None:
    """Bytes allocated and not freed, exactly, resident or not; takes some 10 us. None without glibc
    2.33, which first counts them."""
    if _mallinfo2 is None:
        return None
    info = _mallinfo2()
    return int(info.uordblks + info.hblkhd)


def trim() -> None:
    """Return free heap to the system. No effect without glibc."""
    malloc_trim = _function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _set(option: int, value: int) -> None:
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(option, value)
