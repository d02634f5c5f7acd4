"""What a worker reports of itself: with its registration, and with each heartbeat.

One struct for both sides: the worker encodes it into its record `worker:<id>`, gateways decode it,
and scripts read it through `lua/lib/report.lua`. The table of its fields in `PROTOCOL.md` is
compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from shared import statuses

Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Amount = Annotated[float, Meta(ge=0, le=1 << 53)]


# (A page of the fleet has 20,000 of both: the collector of garbage need not look at them.)
class CopyUse(Struct, array_like=True, frozen=True, gc=False):
    """How one copy is used: its tier (device, host, disk), its bytes, how long it is idle, and the
    requests that it has served."""

    tier: str
    bytes: Count
    idle_ms: Amount
    hits: Count


class CopyBytes(Struct, array_like=True, frozen=True, gc=False):
    """Bytes of a copy on the device: its own, those that it shares, and with how many copies."""

    own_bytes: Count
    shared_bytes: Count
    others: Count


class WorkerReport(Struct, kw_only=True, frozen=True):
    """The report of one worker. Units are in the names; a share is of 1."""

    state: str = ""  # starting, ready or draining
    device_name: str = ""  # cpu, cuda:0
    device_class: str = ""  # devices of one class load a model alike
    gpu_uuid: str = ""  # the GPU that it has claimed
    host_id: str = ""  # of the memory that it shares with gateways
    budget_bytes: Count = 0
    used_bytes: Count = 0
    shared_bytes: Count = 0  # of the used ones: those of several models
    reserved_bytes: Count = 0  # for loads under way
    unaccounted_bytes: int = 0  # on the device, of no model
    host_budget_bytes: Count = 0
    host_used_bytes: Count = 0
    max_models: Count = 0  # 0: any number
    pinned_bytes: Count = 0  # of the copies that policies pin
    pinned_models: Count = 0  # so many they are
    loads_total: Count = 0  # that this process has carried out
    completed_per_s: Amount = 0.0
    service_ms: Amount = 0.0  # device time of one request
    busy_share: Amount = 0.0  # of its time, the device
    contended: Count = 0  # 1: it has just evicted a model for another
    health: str = statuses.HEALTHY  # or suspect, sick: others are asked first
    health_reason: str = ""  # why it is not healthy
    error_share: Amount = 0.0  # of its device calls: failed, and not known to be the model's fault
    failing: list[str] = []  # refs whose calls fail here one after another, as JSON
    copies: dict[str, CopyUse] = {}  # by ref, as JSON
    copy_bytes: dict[str, CopyBytes] = {}  # by ref, as JSON


_JSON = ("copies", "copy_bytes", "failing")


def encode(report: WorkerReport) -> dict[str, str | int | float]:
    """The fields of a heartbeat, as Redis keeps them. An empty `state` is left out: the membership
    adds it."""
    fields: dict[str, Any] = {name: getattr(report, name) for name in report.__struct_fields__}
    for name in _JSON:
        fields[name] = msgspec.json.encode(fields[name]).decode()
    if not report.state:
        del fields["state"]
    return fields


def gist(name: str, value: object) -> object:
    """What has to be written when it changes, of an encoded field: not how long each copy has been
    idle, nor how often it was used."""
    if name != "copies" or not isinstance(value, str):
        return value
    return {ref: use[:2] for ref, use in _uses(value).items()}


def hits(fields: Mapping[str, object]) -> dict[str, int]:
    """How often each copy was used, of encoded fields."""
    copies = fields.get("copies")
    if not isinstance(copies, str):
        return {}
    return {ref: use[3] for ref, use in _uses(copies).items()}


@lru_cache(1)
def _uses(text: str) -> dict[str, list[Any]]:
    """What `copies` says. (The same text is asked for its gist and for its hits.)"""
    uses: dict[str, list[Any]] = msgspec.json.decode(text)
    return uses


def decode(record: Mapping[str, str]) -> WorkerReport:
    """The report in a worker's record. Fields of a newer release are ignored; what is missing or
    cannot be read has its default."""
    found: dict[str, Any] = {}
    for field in _FIELDS:
        text = record.get(field.name, "")
        if text:
            try:
                found[field.name] = _READERS[field.name](text)
            except (msgspec.MsgspecError, RecursionError, OverflowError):
                continue
    return WorkerReport(**found)


def _reader(name: str, kind: Any) -> Callable[[str], Any]:
    """Reads the text of a field."""
    if name in _JSON:
        return msgspec.json.Decoder(kind, strict=False).decode
    return partial(msgspec.convert, type=kind, strict=False)


_FIELDS = msgspec.structs.fields(WorkerReport)
_READERS = {field.name: _reader(field.name, field.type) for field in _FIELDS}
