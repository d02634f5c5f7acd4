"""README.md and the pages of deploy/docs as tests see them: sections, blocks, commands, codes.

A page is named by its file: "README.md", "http-api.md"; deploy/client/README.md is
"warmroute-client".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = "README.md"
CLIENT_README = "warmroute-client"  # of the client's own distribution
PAGES = {path.name: path for path in (ROOT / README, *sorted((ROOT / "deploy/docs").glob("*.md")))}
PAGES[CLIENT_README] = ROOT / "deploy/client/README.md"
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SECTION = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
OUTPUT = "text"  # the language of a block that shows what a command prints, or a file

Key = tuple[str, str, str, int]  # page, section, language, number among those of one language
RUN: list[Key] = []  # the blocks that tests run, in order


class Block(NamedTuple):
    """A fenced block: its page, its heading, its language and its text."""

    page: str
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


def text(page: str) -> str:
    """The whole file."""
    return PAGES[page].read_text()


def blocks(page: str) -> list[Block]:
    """Every fenced block, from the top."""
    whole = text(page)
    # A comment in a shell block is not a heading.
    sentences = _FENCED.sub(lambda found: " " * len(found[0]), whole)
    headings = [(found.start(), found[1]) for found in _SECTION.finditer(sentences)]
    return [
        Block(page, [name for at, name in headings if at < found.start()][-1], found[1], found[2])
        for found in _FENCED.finditer(whole)
    ]


def block(page: str, section: str, language: str, number: int = 0) -> Block:
    """The block of a section, the first of its language or a later one."""
    return [b for b in blocks(page) if b[1:3] == (section, language)][number]


def prose(*pages: str) -> str:
    """The pages (all of them by default) without their fenced blocks."""
    return "\n".join(_FENCED.sub("", text(page)) for page in pages or PAGES)


def codes(*pages: str) -> list[str]:
    """The text in backticks within sentences and tables."""
    return _CODE.findall(prose(*pages))


def all_keys() -> list[Key]:
    """Every block of every page, as `runs` names it."""
    counted: dict[tuple[str, str, str], int] = {}
    found = []
    for one in (one for page in PAGES for one in blocks(page)):
        counted[one[:3]] = counted.get(one[:3], -1) + 1
        found.append((*one[:3], counted[one[:3]]))
    return found


def runs(*blocks_run: Key) -> Callable[[Any], Any]:
    """Marks a test that gets these blocks and runs all that is in them."""
    RUN.extend(blocks_run)

    def mark(test: Any) -> Any:
        given = pytest.mark.parametrize(
            "blocks", [[block(*key) for key in blocks_run]], ids=[blocks_run[0][0]]
        )
        return pytest.mark.slow(pytest.mark.timeout(200)(given(test)))

    return mark
