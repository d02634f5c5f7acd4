"""The residency policy: how many copies, which stay longest, and beside which other models.

A manifest gives a policy; the API overrides single fields of it per model version. The overrides
are stored in Redis as a hash of texts (`policy:<ref>`), so that scripts can read them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from shared.errors import InvalidInput

MAX_COPIES = 1024
MAX_SECONDS = 31_536_000.0

Copies = Annotated[int, Meta(ge=0, le=MAX_COPIES)]


class Affinity(Struct, frozen=True):
    """Models with one `key` are loaded on one worker if possible (`prefer`), or on no other
    (`require`); at most `max_models_per_worker` of them are on a device at a time (0: no limit)."""

    key: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    mode: Literal["prefer", "require"] = "prefer"
    max_models_per_worker: Annotated[int, Meta(ge=0, le=100_000)] = 0


class Policy(Struct, frozen=True, kw_only=True):
    """The residency policy of one model version.

    Seconds are of a worker's clock. `max_copies` 0: as many as workers. `idle_ttl_s` 0: an idle
    copy stays. `min_residency_s` -1: as the worker decides. `priority`: 1 stays longest, 9 is
    evicted first. `preload`: loaded before the first request. `fraction`: the least share of a
    device's budget that a copy is counted as.
    """

    min_copies: Copies = 0
    max_copies: Copies = 0
    idle_ttl_s: Annotated[float, Meta(ge=0, le=MAX_SECONDS)] = 0.0
    min_residency_s: Annotated[float, Meta(ge=-1, le=MAX_SECONDS)] = -1.0
    pin: bool = False
    priority: Annotated[int, Meta(ge=1, le=9)] = 5
    preload: bool = False
    fraction: Annotated[float, Meta(ge=0, le=1)] = 0.0
    affinity: Affinity | None = None

    @property
    def least_copies(self) -> int:
        """Copies to have before the first request."""
        return max(self.min_copies, 1 if self.preload else 0)


# Fields that the API may override: all but the affinity, which is a property of the model.
OVERRIDES = tuple(name for name in Policy.__struct_fields__ if name != "affinity")


def check(policy: Policy) -> None:
    """Rules between fields; InvalidInput naming them."""
    if 0 < policy.max_copies < policy.least_copies:
        raise InvalidInput(
            f"max_copies: {policy.max_copies} is below the {policy.least_copies} copies that "
            "min_copies or preload ask for"
        )


def effective(given: Policy, overrides: Mapping[str, str]) -> Policy:
    """The manifest's policy with the overrides of Redis; values that cannot be read, or are of a
    newer release, are ignored."""
    merged = msgspec.structs.asdict(given)
    for name, text in overrides.items():
        value = _value(name, text)
        if value is not None:
            merged[name] = value
    return Policy(**merged)


def wishing_nothing(given: Policy) -> Policy:
    """The manifest's policy after a newer version has replaced it: no copy has to stay."""
    return msgspec.structs.replace(given, pin=False, min_copies=0, preload=False)


def texts(document: Any) -> dict[str, str]:
    """The overrides of an API document {field: value or null}, as Redis keeps them ('' removes
    an override). InvalidInput names the field and its allowed values."""
    if not isinstance(document, dict) or not document:
        raise InvalidInput(f"policy: want an object with some of {', '.join(OVERRIDES)}")
    found: dict[str, str] = {}
    for name, value in document.items():
        if name not in OVERRIDES:
            raise InvalidInput(f"{name[:80]}: no such field, want some of {', '.join(OVERRIDES)}")
        found[name] = "" if value is None else _text(name, value)
    return found


def _text(name: str, value: Any) -> str:
    try:
        msgspec.convert({name: value}, Policy)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{name}: {error}") from error
    return str(int(value)) if isinstance(value, bool) else repr(value)


def _value(name: str, text: str) -> Any:
    if name not in OVERRIDES:
        return None
    try:
        read = msgspec.convert({name: text}, Policy, strict=False)
    except msgspec.ValidationError:
        return None
    return getattr(read, name)
