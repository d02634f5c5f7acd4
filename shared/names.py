"""Model names and references: the only place with the rules for names.

A model reference is `name:version:digest`. The digest is the first 12 hex digits of the sha256 of
the manifest, so a version that was published again with other bytes is another model to every
queue, cache and map: the version that runs is the accepted one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from shared.errors import InvalidInput, NotFound

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
VERSION = re.compile(r"[1-9][0-9]{0,8}")
MAX_VERSION = 999_999_999
RESERVED_NAMES = frozenset({"blobs", "payloads"})


class ModelRef(NamedTuple):
    """The model of a request: its name, its version and the digest of that version."""

    name: str
    version: int
    digest: str

    def __str__(self) -> str:
        return f"{self.name}:{self.version}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """Read back `str(ref)`; InvalidInput if it is not one."""
        name, _, rest = text.partition(":")
        version, _, digest = rest.partition(":")
        if not VERSION.fullmatch(version) or not re.fullmatch(r"[0-9a-f]{12}", digest):
            raise InvalidInput(f"model reference {text[:80]!r}: want name:version:digest")
        return cls(check_model_name(name), int(version), digest)


def check_model_name(name: str) -> str:
    """Return `name`, or InvalidInput naming the rule. Also keeps names out of paths and keys."""
    if not MODEL_NAME.fullmatch(name) or ".." in name or name in RESERVED_NAMES:
        shown = name[:40] + ("..." if len(name) > 40 else "")
        raise InvalidInput(
            f"model name {shown!r}: want 1 to 128 of A-Z a-z 0-9 . _ - starting with a letter or "
            "digit, without '..', and not a reserved word"
        )
    return name


def parse_version(text: str) -> int:
    """A version is an integer from 1 to MAX_VERSION, without leading zeros. NotFound otherwise:
    none exists."""
    if not VERSION.fullmatch(text):
        raise NotFound(
            f"model version {text[:40]!r}: versions are integers from 1 to {MAX_VERSION}"
        )
    return int(text)
