"""What of a device's memory is whose: pure arithmetic over what was measured, all in bytes."""

from __future__ import annotations


def left_for_models(total: int, share: float, others: int, overhead: int) -> int:
    """The budget for models: a share of what other processes and this one's own overhead leave.

    The rest of the share is for what models need while they run. At least 0.
    """
    return int(max(0, total - others - overhead) * share)


def overhead_of(mine: int | None, before: int, after: int, reserved: int) -> int:
    """What a process takes before its first model. `mine`: what the driver says of this process,
    if it does; else the growth of all that is used on the device while it was opened."""
    return max(0, (after - before if mine is None else mine) - reserved)


def others_of(used: int, mine: int | None, reserved: int, overhead: int) -> int:
    """What others use of a device on which `used` is used. `mine` as above; else what this
    process knows of, so what grew outside of its allocator counts as others' then."""
    return max(0, used - (reserved + overhead if mine is None else mine))
