"""The memory that this process may use: the machine's, and the limits of its control groups.

Control groups are nested, and a process may use what the least of them allows. Each level is shared
by all processes below it, so it has an identity: the group's folder is the same inode in every
container. Version 1 and 2 are read, also where a container sees a part of the hierarchy only.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
MACHINE = "machine"
LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")


@dataclass(frozen=True)
class Level:
    """Memory that several processes share: its identity on this host, and its bytes."""

    identity: str
    limit: int


def memory_levels(root: Path = ROOT) -> list[Level]:
    """The machine's memory first, then each control group of this process with a lower limit, from
    the outermost inwards. `root`: where /proc lies, and the mount points that it names."""
    machine = _machine(root)
    found = [Level(MACHINE, machine)]
    for folder in _groups(root):
        limit = _limit(folder)
        if limit is not None and limit < machine:
            status = folder.stat()
            found.append(Level(f"{status.st_dev}:{status.st_ino}", limit))
    return found


def memory_total(levels: list[Level]) -> int:
    """What a process may use: the least of its levels."""
    return min(level.limit for level in levels)


def _machine(root: Path) -> int:
    """By /proc/meminfo, which a container may have made up; sysconf goes past that."""
    found = re.search(r"^MemTotal:\s*(\d+) kB$", _read(root / "proc/meminfo"), re.MULTILINE)
    return int(found[1]) << 10 if found else os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the memory groups of this process, the outermost first."""
    memberships = _read(root / "proc/self/cgroup").splitlines()
    for mount, subtree, is_v2 in _mounts(root):
        for line in memberships:
            number, controllers, path = line.split(":", 2)
            if number == "0" if is_v2 else "memory" in controllers.split(","):
                yield from _chain(mount, subtree, path)


def _mounts(root: Path) -> Iterator[tuple[Path, str, bool]]:
    """Mount point, part of the hierarchy that is mounted there, and whether it is version 2."""
    for line in _read(root / "proc/self/mountinfo").splitlines():
        fields, _, kind = line.partition(" - ")
        parts, kinds = fields.split(), kind.split()
        is_v2 = kinds[:1] == ["cgroup2"]
        if len(parts) < 5 or not (
            is_v2 or (kinds[:1] == ["cgroup"] and "memory" in kinds[-1].split(","))
        ):
            continue
        yield root / parts[4].lstrip("/"), parts[3], is_v2


def _chain(mount: Path, subtree: str, path: str) -> Iterator[Path]:
    """The folders from the mount point down to the group. A container may see its own group as the
    mount point, while /proc names its path on the host."""
    inner = path.removeprefix("" if subtree == "/" else subtree).strip("/")
    names = [name for name in inner.split("/") if name]
    if ".." in names or not mount.joinpath(*names).is_dir():
        names = []
    for depth in range(len(names) + 1):
        yield mount.joinpath(*names[:depth])


def _limit(folder: Path) -> int | None:
    """The least limit of one group in bytes; None if it has none."""
    texts = [_read(folder / name).strip() for name in LIMITS]
    return min((int(text) for text in texts if text.isdecimal()), default=None)


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text()
    return ""
