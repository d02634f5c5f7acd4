"""The event log: what happened to model copies, and why, in the capped stream `events`.

An entry's fields are those of `Event` that have a value, by their names. A reader ignores
fields that it does not know: workers and gateways of two releases may share a cell.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal, get_args

from msgspec import Struct, structs

Kind = Literal[
    "loading", "loaded", "promoted", "demoted", "evicted", "unloaded", "refused", "load_failed",
    "out_of_memory", "ordered_copy", "retired_surplus", "policy_set", "session_opened",
    "session_closed", "restarted", "events_lost", "unbatched", "health",
]  # fmt: skip
KINDS: tuple[str, ...] = get_args(Kind)

MAX_EVENTS = 10_000  # about; Redis drops the oldest in blocks
MAX_REASON = 400  # characters
LATEST_MS = 253_402_300_799_999  # a time in an id may be anything; no calendar has more
NUMBERS = frozenset({"bytes", "bytes_regained", "seconds", "late_s"})

Position = tuple[int, int]  # an entry id: milliseconds of Redis's clock, and a number within them
START: Position = (0, 0)


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened.

    A load that does not succeed, also in the trial of a newer version, is `load_failed` (the model
    cannot be loaded) or `refused` (no free memory beside the copies that stay); `reason` says why.

    `ref`: the model, name:version:digest. Tiers: device, host, disk, remote. `reason`: a sentence.
    `bytes`: size of the copy; `bytes_regained`: bytes measured to be free after its eviction.
    `seconds`: how long it took; `late_s`: how long the event waited for Redis, if a second or more.
    `warmed` False: it was loaded, but no input that could be made up ran, `reason` says why.
    """

    kind: str
    id: str = ""
    worker: str = ""
    ref: str = ""
    tier_from: str = ""
    tier_to: str = ""
    reason: str = ""
    bytes: int | None = None
    bytes_regained: int | None = None
    seconds: float | None = None
    late_s: float | None = None
    warmed: bool | None = None

    @property
    def model(self) -> str:
        """The model's name, '' if the event is not about a model."""
        return self.ref.partition(":")[0]

    @property
    def version(self) -> str:
        """The model's version."""
        return self.ref.partition(":")[2].partition(":")[0]

    @property
    def position(self) -> Position:
        """Its position in the log."""
        return position_of(self.id)

    def document(self) -> dict[str, Any]:
        """The document for the API; missing fields are left out."""
        shown = {
            "id": self.id,
            "time": _time_of(self.position[0] - round((self.late_s or 0) * 1000)),
            "kind": self.kind,
            "worker": self.worker,
            "model": self.model,
            "version": self.version,
            "tier_from": self.tier_from,
            "tier_to": self.tier_to,
            "reason": self.reason,
            "bytes": self.bytes,
            "bytes_regained": self.bytes_regained,
            "seconds": self.seconds,
            "warmed": self.warmed,
        }
        return {name: value for name, value in shown.items() if value not in ("", None)}


def encode(event: Event) -> list[str]:
    """The fields of a stream entry, flat."""
    flat: list[str] = []
    for name, value in structs.asdict(event).items():
        if name != "id" and value not in ("", None):
            text = f"{value:.9g}" if isinstance(value, float) else str(value)[:MAX_REASON]
            flat += (name, text)
    return flat


def decode(entry: bytes, fields: Mapping[bytes, bytes]) -> Event:
    """Parse an entry of the stream; fields that are unknown or unreadable are left out."""
    known: dict[str, Any] = {}
    for raw, value in fields.items():
        name, text = raw.decode(errors="replace"), value.decode(errors="replace")
        if name in NUMBERS:
            known[name] = _number(text)
        elif name == "warmed":
            known[name] = {"True": True, "False": False}.get(text)
        elif name in Event.__struct_fields__:
            known[name] = text
    return Event(**{"kind": "", **known, "id": entry.decode()})


def position_of(entry_id: str) -> Position:
    """An entry id in a form that can be compared."""
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)


def id_of(position: Position) -> str:
    """The entry id of a position."""
    return f"{position[0]}-{position[1]}"


def _number(text: str) -> float | int | None:
    try:
        found = float(text)
    except ValueError:
        return None
    if not abs(found) < 1 << 53:  # a NaN too
        return None
    return int(found) if found.is_integer() else found


def _time_of(ms: int) -> str:
    ms = min(max(ms, 0), LATEST_MS)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms / 1000))
    return f"{whole}.{ms % 1000:03d}Z"
