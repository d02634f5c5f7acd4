"""What all settings have in common: how each is declared, read from text and shown to people, and
those of a cell.

Each field says its variable, its unit and, in one sentence, what it trades. Nothing else in
`shared`, `router` or `worker` reads the environment.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints
from urllib.parse import urlsplit, urlunsplit

from shared import redis_url
from shared.cell_list import CELL, NAME_RULE, CellAddress
from shared.digits import is_plain
from shared.errors import ConfigError
from shared.names import RESERVED_NAMES
from shared.repository.options import options_of

MIB = 1 << 20
SIZES = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
HIGHEST = {"s": 30 * 86400.0}  # by unit: longer is a slip of the unit
MOST = 2.0**53  # of anything else: Lua and JSON have no larger whole numbers


def setting(
    env: str, default: Any, doc: str, *, low: float = 0, high: float | None = None, unit: str = ""
) -> Any:
    """A field read from `env`; numbers below `low` or above `high` are refused."""
    most = HIGHEST.get(unit, MOST) if high is None else high
    meta = {"env": env, "doc": doc, "low": low, "high": most, "unit": unit}
    return dataclasses.field(default=default, metadata=meta)


def convert(kind: type, text: str, low: float, high: float) -> Any:
    """The value of a variable; ValueError says what is wrong with it."""
    if kind is str:
        return text
    try:
        value = kind(text if is_plain(text) and "nan" not in text.lower() else "")
    except ValueError:
        raise ValueError(f"{text!r} is not {'an integer' if kind is int else 'a number'}") from None
    if value < low:
        raise ValueError(f"{text} is below the least value {low:g}")
    if value > high:
        raise ValueError(f"{text} is above the highest value {high:.15g}")
    return value


def listed(text: str) -> list[str]:
    """The items of a comma list."""
    return [item.strip() for item in text.split(",") if item.strip()]


@dataclass(frozen=True, kw_only=True)
class CellConfig:
    """What every process of a cell must agree on."""

    redis_url: str = setting("REDIS_URL", "", "Redis of the cell, redis:// rediss:// or unix://.")
    model_repository: str = setting(
        "MODEL_REPOSITORY",
        "",
        "Where models live: s3://bucket/prefix or file:///folder; "
        "%20 and the like stand for characters.",
    )
    s3_endpoint_url: str = setting(
        "S3_ENDPOINT_URL", "", "An S3 server other than AWS; empty means AWS."
    )
    s3_addressing_style: str = setting(
        "S3_ADDRESSING_STYLE", "", "path or virtual: where an S3 server expects the bucket's name; "
        "empty takes that of the AWS config file, else path for a server other than AWS.",
    )  # fmt: skip
    s3_requester_pays: int = setting(
        "S3_REQUESTER_PAYS", 0, "1 accepts that the owner of the credentials pays for requests, "
        "as some buckets demand.", high=1,
    )  # fmt: skip
    cell: str = setting("WARMROUTE_CELL", "warmroute", "Prefix and hash tag of every key.")
    lease_s: float = setting(
        "WARMROUTE_LEASE_S", 10.0, "How long a silent worker or gateway counts as alive: shorter "
        "detects failures sooner, longer tolerates pauses.", low=1, high=3600, unit="s",
    )  # fmt: skip
    shared_memory: str = setting(
        "WARMROUTE_SHARED_MEMORY", "/dev/shm", "Folder in memory for large tensors of callers that "
        "wait, used while gateway and workers share a host; 'off' sends all through Redis.",
    )  # fmt: skip
    max_attempts: int = setting(
        "WARMROUTE_MAX_ATTEMPTS",
        3,
        "Starts of one request before it is a dead letter; from the third on it runs alone.",
        low=3,
    )
    strict: int = setting(
        "WARMROUTE_STRICT", 0, "1 refuses to start on a Redis whose settings cannot keep what was "
        "accepted; 0 only warns.", high=1,
    )  # fmt: skip

    @property
    def store_options(self) -> dict[str, Any]:
        """What `open_repository` takes beside the URL."""
        return options_of(
            {
                "S3_ENDPOINT_URL": self.s3_endpoint_url,
                "S3_ADDRESSING_STYLE": self.s3_addressing_style,
                "S3_REQUESTER_PAYS": str(self.s3_requester_pays),
            }
        )

    @property
    def cells(self) -> list[CellAddress]:
        """The cells that a process takes part in."""
        return [CellAddress(self.cell, self.redis_url)]

    def cell_faults(self) -> list[str]:
        """What is wrong with the settings that say where the cell is."""
        found = [f"REDIS_URL: {fault}" for fault in redis_url.faults(self.redis_url)]
        if not CELL.fullmatch(self.cell) or self.cell in RESERVED_NAMES:
            found.append(f"WARMROUTE_CELL: {NAME_RULE}")
        return found

    def faults(self) -> list[str]:
        """What is wrong between settings, beyond each one's own limits."""
        return []


Config = TypeVar("Config", bound=CellConfig)


def read(cls: type[Config], env: Mapping[str, str]) -> Config:
    """Build a config from `env`; ConfigError lists every fault at once."""
    values: dict[str, Any] = {}
    faults: list[str] = []
    types = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        name = field.metadata["env"]
        if env.get(name, "") == "":
            continue
        try:
            limits = field.metadata["low"], field.metadata["high"]
            values[field.name] = convert(types[field.name], env[name], *limits)
        except ValueError as error:
            faults.append(f"{name}: {error}")
    config = cls(**values)
    faults += _check(config)
    if faults:
        raise ConfigError("settings: " + "; ".join(faults))
    return config


def _check(config: CellConfig) -> list[str]:
    faults = config.cell_faults()
    if not re.match(r"(s3|file)://", config.model_repository):
        faults.append("MODEL_REPOSITORY: want s3://bucket/prefix or file:///folder")
    return faults + config.faults()


def describe(cls: type[CellConfig]) -> list[tuple[str, str, str, str]]:
    """Rows (variable, unit, default, meaning) for the README and `--help`."""
    return [
        (f.metadata["env"], f.metadata["unit"], str(f.default), f.metadata["doc"])
        for f in dataclasses.fields(cls)
    ]


def needed() -> set[str]:
    """Variables without which a process does not start, found by giving none."""
    try:
        read(CellConfig, {})
    except ConfigError as error:
        return {row[0] for row in describe(CellConfig) if f"{row[0]}: " in error.message}
    return set()


def show_default(value: str, unit: str) -> str:
    """A default as people write it."""
    if value == "":
        return "empty"
    if unit == "bytes":
        return _size(int(value))
    return value.removesuffix(".0") if unit == "s" else value


def _size(size: int) -> str:
    for name, factor in SIZES:
        if size and size % factor == 0:
            return f"{size // factor} {name}"
    return str(size)


def mask_url(url: str) -> str:
    """The URL without its password, for people."""
    url = re.sub(r"(?i)([?&]password=)[^&#]*", r"\1***", url)
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))
