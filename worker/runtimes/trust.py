"""Which models may be loaded: formats that can run code need the operator's permission.

A pure decision over the manifest, taken before any of its files is opened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

from shared.errors import Untrusted
from shared.manifest import Manifest
from shared.platforms import PLATFORMS
from shared.repository.url import is_within, parse


@dataclass(frozen=True)
class Trust:
    """What the operator allowed. `code`: formats that can run code may be loaded from the
    repository. `programs`: sha256 of programs that may be loaded from any repository."""

    code: bool = False
    programs: frozenset[str] = frozenset()
    repository: str = ""  # its URL, for the error message

    @classmethod
    def of_repository(cls, url: str, prefixes: Iterable[str], programs: Collection[str]) -> Self:
        """Trust for the repository at `url`: `code` if a prefix is `url` or a folder above it."""
        trusted = any(is_within(url, prefix) for prefix in prefixes)
        return cls(trusted, frozenset(programs), str(parse(url)))

    def allows(self, manifest: Manifest, program_sha256: str | None = None) -> bool:
        """Whether the model may be loaded, given the hash of its program if it has one."""
        platform = PLATFORMS.get(manifest.platform)
        if self.code or (platform is not None and platform.trust == "data"):
            return True
        has_program = platform is not None and bool(platform.program_file)
        return has_program and program_sha256 in self.programs

    def check(self, manifest: Manifest) -> None:
        """Untrusted, naming the settings that would allow it, unless the model may be loaded."""
        program = program_sha256(manifest)
        if self.allows(manifest, program):
            return
        also = f", or WARMROUTE_TRUSTED_PROGRAMS to {program}" if program else ""
        raise Untrusted(
            f"model {manifest.name} version {manifest.version}: platform {manifest.platform} can "
            f"run code, and its repository is not trusted: {advice(self.repository)}{also}"
        )


def advice(url: str) -> str:
    """The setting that allows code from the repository at `url`, and where to set it."""
    value = f"={parse(url)}" if url else " to a prefix of the repository's URL"
    return f"set WARMROUTE_TRUST_CODE{value} where the workers are started"


def program_sha256(manifest: Manifest) -> str | None:
    """Hash of the manifest's program file; None for a platform without one."""
    platform = PLATFORMS.get(manifest.platform)
    if platform is None or not platform.program_file:
        return None
    return next((f.sha256 for f in manifest.files if f.name == platform.program_file), None)
