"""Reads a Procfile: which process kinds there are, and what starts each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LINE = re.compile(r"([A-Za-z0-9_-]+)\s*:\s*(.+)")


class BadProcfile(Exception):
    """A line that is no `name: command`."""


@dataclass(frozen=True)
class ProcessSpec:
    """One process to run: `web.1`, its command, and what its environment has beside ours."""

    name: str
    command: str
    env: Mapping[str, str] = field(default_factory=dict)


def read_procfile(path: Path) -> dict[str, str]:
    """Commands by process kind, in the file's order."""
    commands: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = LINE.fullmatch(text)
        if found is None or found[1] in commands:
            raise BadProcfile(f"{path.name} line {number}: want a new `name: command`")
        commands[found[1]] = found[2]
    return commands


def formation(
    commands: Mapping[str, str], counts: Mapping[str, int], env: Mapping[str, str]
) -> Iterator[ProcessSpec]:
    """`counts[kind]` processes of each kind, named kind.1, kind.2 and so on."""
    for kind, count in counts.items():
        if kind not in commands:
            raise BadProcfile(f"the Procfile has no process {kind!r}")
        for number in range(1, count + 1):
            yield ProcessSpec(f"{kind}.{number}", commands[kind], dict(env))
