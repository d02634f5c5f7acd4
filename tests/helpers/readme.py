"""README.md as its tests see it: sections, fenced blocks, commands, and code within sentences."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SECTION = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
RUN: list[tuple[str, str, int]] = []  # the blocks that tests run, in order


class Block(NamedTuple):
    """A fenced block: under which heading, of which language, and its text."""

    section: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block; one may span lines, within quotes."""
        found: list[str] = []
        for line in self.text.splitlines():
            if found and (found[-1].count("'") % 2 or found[-1].endswith("\\")):
                found[-1] += "\n" + line
            elif line.strip():
                found.append(line)
        return found


def text() -> str:
    """The whole file."""
    return README.read_text()


def blocks() -> list[Block]:
    """Every fenced block, from the top."""
    whole = text()
    # A comment in a shell block is no heading.
    prose = _FENCED.sub(lambda found: " " * len(found[0]), whole)
    headings = [(found.start(), found[1]) for found in _SECTION.finditer(prose)]
    return [
        Block([name for at, name in headings if at < found.start()][-1], found[1], found[2])
        for found in _FENCED.finditer(whole)
    ]


def block(section: str, language: str, number: int = 0) -> Block:
    """The block of a section, the first of its language or a later one."""
    return [b for b in blocks() if (b.section, b.language) == (section, language)][number]


def prose() -> str:
    """The file without its fenced blocks."""
    return _FENCED.sub("", text())


def codes() -> list[str]:
    """What stands in backticks within sentences and tables."""
    return _CODE.findall(prose())


def runs(*keys: tuple[str, str, int]) -> Callable[[Any], Any]:
    """Marks a test that gets these blocks of the README and runs all that is in them."""
    RUN.extend(keys)

    def mark(test: Any) -> Any:
        given = pytest.mark.parametrize("blocks", [[block(*key) for key in keys]], ids=["README"])
        return pytest.mark.slow(pytest.mark.timeout(200)(given(test)))

    return mark
