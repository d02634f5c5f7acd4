"""Whether processes of different releases can work together in one cell.

`register` and `gateway_beat` compare the numbers of the process that starts with those of every
live one; this module says in words what they found.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.constants import OLDEST_PROTOCOL, PROTOCOL
from shared.errors import ConfigError

NUMBERS = (PROTOCOL, OLDEST_PROTOCOL)
"""The protocol that this release writes, and the oldest one that it reads."""


def conflict(process: str, mine: tuple[int, int], found: Sequence[bytes]) -> ConfigError:
    """The error of a process that cannot join. `process`: "worker" or "gateway". `found`: a live
    process, the protocol that it writes and the oldest that it reads, as the script answers."""
    other = found[0].decode(errors="replace")
    writes, reads = int(found[1]), int(found[2])
    if mine[0] < reads:
        advice = f"this {process} is too old: start a release with protocol {reads} or newer"
    else:
        advice = f"{other} is too old: upgrade it to protocol {mine[1]} or newer first"
    return ConfigError(
        f"protocol: this {process} writes {mine[0]} and reads {mine[1]} to {mine[0]}, {other} "
        f"writes {writes} and reads {reads} to {writes}; {advice}"
    )
