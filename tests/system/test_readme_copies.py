"""The README's commands that keep models ready, on a real stack, as in test_readme.py."""

from __future__ import annotations

import re

from tests.helpers.readme import Block, runs
from tests.helpers.stack import Stack
from tests.helpers.terminal import Terminal

KEEP = "Keep models ready: pins, sessions, preload, priorities"


@runs((KEEP, "sh", 0))
def test_a_model_is_loaded_and_freed_by_command(
    terminal: Terminal, cell: Stack, blocks: list[Block]
) -> None:
    """Each returns when it is so."""
    ((load, unload),) = (block.commands for block in blocks)
    assert re.search(r"^ tiny-mlp +\d+ +READY +worker-1", terminal.run(load), re.MULTILINE)
    assert cell.holders("tiny-mlp") == ["worker-1"]
    assert re.search(r"^ tiny-mlp +\d+ +UNAVAILABLE +worker-1", terminal.run(unload), re.MULTILINE)
    assert cell.holders("tiny-mlp") == []


@runs((KEEP, "sh", 1))
def test_a_policy_is_overridden_and_set_back(terminal: Terminal, blocks: list[Block]) -> None:
    """The table says what is in force, and who set it."""
    ((override, back),) = (block.commands for block in blocks)
    assert re.search(r"^ pin +true +false +API", terminal.run(override), re.MULTILINE)
    assert re.search(r"^ priority +5 +5 +manifest", terminal.run(back), re.MULTILINE)


@runs((KEEP, "python", 0))
def test_a_block_is_a_session(terminal: Terminal, blocks: list[Block]) -> None:
    """Its models are there."""
    (block,) = blocks
    assert "'state': 'ready'" in terminal.run_python(block.text)


@runs((KEEP, "sh", 2))
def test_a_session_is_opened_kept_and_closed_by_command(
    terminal: Terminal, blocks: list[Block]
) -> None:
    """Under an id of one's own."""
    ((opened, listed, kept, closed),) = (block.commands for block in blocks)
    assert re.search(
        r"^ morning +\S+ +tiny-mlp +\d+ +ready +worker-1", terminal.run(opened), re.MULTILINE
    )
    assert re.search(r"^ morning +\S+ +tiny-mlp:\d+", terminal.run(listed), re.MULTILINE)
    assert re.search(r"^ morning +\S+", terminal.run(kept), re.MULTILINE)
    assert terminal.run(closed) == ""
    assert "morning" not in terminal.run(listed)
