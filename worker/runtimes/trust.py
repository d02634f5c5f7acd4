"""Which models may be loaded: formats that can run code only where the operator allowed it.

A pure decision over the manifest, taken before any of its files is opened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

from shared.errors import Untrusted
from shared.manifest import PLATFORMS, Manifest
from worker.runtimes.program_schema import PROGRAM_FILE

PROGRAM_PLATFORM = "pytorch_program"


@dataclass(frozen=True)
class Trust:
    """What the operator allowed. `code`: the repository may hold formats that can run code.
    `programs`: sha256 of programs that may run from anywhere.
    """

    code: bool = False
    programs: frozenset[str] = frozenset()

    @classmethod
    def of_repository(cls, url: str, prefixes: Iterable[str], programs: Collection[str]) -> Self:
        """Trust for the repository at `url`: `code` if a prefix is `url` or a folder above it."""
        trusted = any(is_within(url, prefix) for prefix in prefixes)
        return cls(code=trusted, programs=frozenset(programs))

    def allows(self, manifest: Manifest, program_sha256: str | None = None) -> bool:
        """Whether the model may be loaded, given the hash of its program if it has one."""
        if PLATFORMS.get(manifest.platform) == "data" or self.code:
            return True
        return manifest.platform == PROGRAM_PLATFORM and program_sha256 in self.programs

    def check(self, manifest: Manifest) -> None:
        """Untrusted, naming the settings that would allow it, unless the model may be loaded."""
        program = program_sha256(manifest)
        if self.allows(manifest, program):
            return
        also = f", or WARMROUTE_TRUSTED_PROGRAMS to {program}" if program else ""
        raise Untrusted(
            f"model {manifest.name} version {manifest.version}: platform {manifest.platform} can "
            f"run code, and its repository is not trusted to: set WARMROUTE_TRUST_CODE to a prefix "
            f"of the repository's URL{also}"
        )


def is_within(url: str, prefix: str) -> bool:
    """Whether `prefix` is `url` or a folder above it: s3://a/b is above s3://a/b/c, not s3://a/bc."""
    prefix = prefix.strip().rstrip("/")
    return bool(prefix) and (url.rstrip("/") == prefix or url.startswith(prefix + "/"))


def program_sha256(manifest: Manifest) -> str | None:
    """Hash of the manifest's program file, None for platforms that have none."""
    if manifest.platform != PROGRAM_PLATFORM:
        return None
    return next((file.sha256 for file in manifest.files if file.name == PROGRAM_FILE), None)
