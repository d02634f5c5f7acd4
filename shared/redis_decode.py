"""Redis replies as Python values: hashes, texts, numbers, its clock, and which leases are valid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

CLOCK_FAR_MS = 1000  # as `FAR_MS` in `lua/lib/keys.lua`


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """A flat list of names and values (HGETALL, the fields of an entry) as a dictionary. A name
    that is given twice keeps its last value; ValueError for an odd number of items."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def texts(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """A hash of texts. Bytes that are not UTF-8 become U+FFFD."""
    return {name.decode(errors="replace"): text_of(value) for name, value in fields.items()}


def text_of(value: bytes | None) -> str:
    """A string, '' if there is none."""
    return (value or b"").decode(errors="replace")


def number(text: str, otherwise: float = 0.0) -> float:
    """A number written by another process; `otherwise` if it cannot be read, is not finite, or is
    beyond 1e18."""
    try:
        found = float(text)
    except ValueError:
        return otherwise
    return found if abs(found) < 1e18 else otherwise


def clock_ms(reply: Sequence[bytes | int]) -> int:
    """The reply of TIME in milliseconds."""
    seconds, micros = reply
    return int(seconds) * 1000 + int(micros) // 1000


def cell_ms(reply: Sequence[bytes | int], noted: bytes | None) -> int:
    """The cell's clock: the reply of TIME, and the string `clock`, as `lua/lib/keys.lua` has it."""
    now = clock_ms(reply)
    if noted is None:
        return now
    seen, offset = map(int, noted.split(b" ")[:2])
    now -= offset
    return max(now, seen) if abs(now - seen) <= CLOCK_FAR_MS else seen


def is_alive(lease_ms: float, now_ms: float) -> bool:
    """Whether a lease that ends at `lease_ms` is valid at `now_ms`, both by the cell's clock. At
    its end it is not: the scripts decide in the same way (`lua/lib/holders.lua`)."""
    return lease_ms > now_ms


def alive(leases: Iterable[tuple[bytes, float]], now_ms: float) -> list[str]:
    """The names whose lease is valid, in order."""
    return sorted(name.decode() for name, lease_ms in leases if is_alive(lease_ms, now_ms))


def after_ms(now_ms: int) -> str:
    """The lower bound of ZRANGEBYSCORE and ZCOUNT for leases that are valid at `now_ms`."""
    return f"({now_ms}"
