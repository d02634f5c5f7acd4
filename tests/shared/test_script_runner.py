"""The text of a script: its libraries in levels, which only change what a call of it costs."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from shared.script_runner import load_source

LUA = files("shared") / "lua"
SCRIPTS = sorted(f.name.removesuffix(".lua") for f in LUA.iterdir() if f.name.endswith(".lua"))
OPENS, CLOSES = "return (function() ", " end)()"


@pytest.mark.parametrize("name", SCRIPTS)
def test_levels_leave_out_and_add_nothing(name: str) -> None:
    """Without them the libraries stand one after the other, and the script behind them."""
    body = (LUA / f"{name}.lua").read_text()
    used = re.search(r"^-- use: (.+)$", body, re.MULTILINE)
    libraries = used.group(1).split(", ") if used else []
    plain = "".join((LUA / "lib" / f"{library}.lua").read_text() for library in libraries) + body
    text = load_source(name)
    assert text.replace(OPENS, "").replace(CLOSES, "") == plain
    assert text.count(OPENS) == text.count(CLOSES)


def test_a_script_of_many_libraries_has_several_levels() -> None:
    """Each shortens what Lua walks through for a captured local."""
    assert load_source("place").count(OPENS) > 2
