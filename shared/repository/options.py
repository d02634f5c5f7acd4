"""How an S3 store wants to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import ConfigError

ATTEMPTS = 4
STYLES = ("", "path", "virtual", "auto")


@dataclass(frozen=True)
class S3Options:
    """`endpoint_url`: a store other than AWS. Without keys the credentials are found as botocore
    finds them (AWS_* variables, profile, role). An empty `addressing_style` is that of the AWS
    config file, else `path` for a store of its own: it seldom has a DNS name for each bucket.
    ConfigError for a style that there is not."""

    endpoint_url: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    addressing_style: str = ""
    requester_pays: bool = False
    attempts: int = ATTEMPTS
    timeout_s: float = 60

    def __post_init__(self) -> None:
        if self.addressing_style not in STYLES:
            raise ConfigError(
                f"S3_ADDRESSING_STYLE: {self.addressing_style!r}, want path, virtual or auto"
            )


def options_of(env: Mapping[str, str]) -> dict[str, Any]:
    """What an environment says, as arguments of `open_repository`."""
    return {
        "endpoint_url": env.get("S3_ENDPOINT_URL") or None,
        "addressing_style": env.get("S3_ADDRESSING_STYLE", ""),
        "requester_pays": env.get("S3_REQUESTER_PAYS", "0") not in ("", "0"),
    }
