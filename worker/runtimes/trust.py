"""Which models may be loaded: formats that can run code only where the operator allowed it.

A pure decision over the manifest, taken before any of its files is opened.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote

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
    repository: str = ""  # its URL, to be named in a refusal

    @classmethod
    def of_repository(cls, url: str, prefixes: Iterable[str], programs: Collection[str]) -> Self:
        """Trust for the repository at `url`: `code` if a prefix is `url` or a folder above it."""
        trusted = any(is_within(url, prefix) for prefix in prefixes)
        return cls(trusted, frozenset(programs), spelled(url))

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
            f"run code, and its repository is not trusted to: {advice(self.repository)}{also}"
        )


def advice(url: str) -> str:
    """What an operator must set to have code from the repository at `url` run, and where."""
    value = f"={spelled(url)}" if url else " to a prefix of the repository's URL"
    return f"set WARMROUTE_TRUST_CODE{value} where the workers are started"


def is_within(url: str, prefix: str) -> bool:
    """Whether `prefix` is `url` or a folder above it: s3://a/b is above s3://a/b/c, not s3://a/bc."""
    above = spelled(prefix)
    return bool(above) and (spelled(url) + "/").startswith(above + "/")


def spelled(url: str) -> str:
    """The one spelling of a repository's URL: `file:///my models/`, `file://localhost/my%20models`
    and `file:///x/../my%20models` name the same folder. '' if it is the URL of no repository."""
    scheme, _, rest = url.strip().partition("://")
    host, _, path = rest.partition("/")
    if scheme.lower() == "file":
        host = "" if host == "localhost" else host
        path = quote(posixpath.normpath("/" + unquote(path).strip("/")))
    path = path.strip("/")
    if not host and not path:
        return ""
    return f"{scheme.lower()}://{host}/{path}".rstrip("/")


def program_sha256(manifest: Manifest) -> str | None:
    """Hash of the manifest's program file, None for platforms that have none."""
    if manifest.platform != PROGRAM_PLATFORM:
        return None
    return next((file.sha256 for file in manifest.files if file.name == PROGRAM_FILE), None)
