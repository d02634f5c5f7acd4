"""CUDA errors after which this process can compute nothing any more.

Most errors of a device call concern that call alone. After these the context is gone: every later
call, of any model, fails with the same error until the process has ended (CUDA's documentation of
`cudaError` says so of each). So the process ends itself at once and its parent starts another.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from shared.errors import WarmrouteError
from worker.supervisor.restart import DEVICE_LOST

log = logging.getLogger(__name__)
Result = TypeVar("Result")

# Texts of cudaGetErrorString, as torch ("CUDA error: ...") and onnxruntime ("CUDA failure 700:
# ...") give them. Out of memory and refused launches are not among them: those pass.
_STICKY = (
    "device-side assert triggered",
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "invalid program counter",
    "misaligned address",
    "operation not supported on global/shared address space",
    "hardware stack error",
    "unspecified launch failure",
    "the launch timed out and was terminated",
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error detected during the execution",
    "context is destroyed",
)
_PATTERN = re.compile(rf"CUDA (?:error|failure)[ \d]*: (?:{'|'.join(map(re.escape, _STICKY))})")


def is_sticky(error: BaseException) -> bool:
    """Whether `error`, or what it was raised from, says that the CUDA context is lost."""
    # What the model's own words say in a ModelFailed is no evidence; the error behind it is.
    foreign = (e for e in _chain(error) if not isinstance(e, WarmrouteError))
    return any(_PATTERN.search(str(e)) for e in foreign)


def exit_if_sticky(error: BaseException) -> None:
    """End this process, without any cleaning up, if it cannot use its device any more."""
    if is_sticky(error):
        log.critical("the device cannot be used any more, this process ends: %s", error)
        os._exit(DEVICE_LOST)  # not sys.exit: threads may hang in calls that never return


def watched(call: Callable[[], Result]) -> Result:
    """What `call()` returns or raises, unless that shows the device lost to this process."""
    try:
        return call()
    except Exception as error:
        exit_if_sticky(error)
        raise


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        yield link
        seen.add(id(link))
        link = link.__cause__ or link.__context__
