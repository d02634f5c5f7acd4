"""The text of a script: what it uses of its libraries, made when it is needed, in levels."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from shared.script_runner import load_source, read_lua
from shared.script_text import script_text
from tests.helpers.cell import Cell

LUA = files("shared") / "lua"
SCRIPTS = sorted(f.name.removesuffix(".lua") for f in LUA.iterdir() if f.name.endswith(".lua"))
LIBRARIES = [f.name.removesuffix(".lua") for f in (LUA / "lib").iterdir()]
OPENS, CLOSES = "return (function() ", " end)()"
DECLARED = r"local (?:function )?(\w+(?:, \w+)*)"
COUNTER = """-- counter: one state.
local number, step = 0, 1
local function up()
  number = number + step
  return number
end
local function now() return number end
local function down() number = number - step end
"""


def parameters(text: str) -> set[str]:
    """Of functions."""
    found = re.findall(r"function[^(\n]*\(([^)\n]*)\)", text)
    return {name for names in found for name in names.split(", ")}


def made(body: str, **libraries: str) -> str:
    texts = {"script": body, **{f"lib/{name}": text for name, text in libraries.items()}}
    return script_text("script", texts.__getitem__)


def used(text: str) -> set[str]:
    """Its words, without comments, texts and the names of fields."""
    code = re.sub(r"--[^\n]*|'[^'\n]*'", "", text)
    return set(re.findall(r"(?<![.:\w])[A-Za-z_]\w*\b(?! = )", code))


def declared(text: str, where: str = r"\b") -> set[str]:
    found = re.findall(where + DECLARED, text, re.MULTILINE)
    return {name for names in found for name in names.split(", ")}


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_that_a_script_uses_is_left_out(name: str) -> None:
    """Nor is anything added but what makes functions late."""
    text = load_source(name).replace("rare().", "")
    own = declared(text) | parameters(text)
    known = set().union(*(declared(read_lua(f"lib/{one}"), "^") for one in LIBRARIES))
    assert used(text) & known <= own
    assert text.count(OPENS) == text.count(CLOSES)
    assert text.endswith(read_lua(name) + CLOSES * text.count(CLOSES))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_has_no_statements_but_locals(library: str) -> None:
    """Any other would be left out with the local before it."""
    rows = re.findall(r"^\S.*", read_lua(f"lib/{library}"), re.MULTILINE)
    assert [r for r in rows if not re.match(r"--|local |do$|end\b|}", r)] == []


def test_what_a_script_does_not_use_is_left_out() -> None:
    """Single values of a line too; a block belongs to the names before it."""
    text = made(
        "-- use: a\nreturn b() + TWO\n",
        a="-- a\nlocal ONE, TWO = 1, 2\nlocal x, y\ndo\n  function x() end\nend\n"
        "local c = {1}\nlocal b\ndo\n  local d = c[1]\n  function b() return d end\nend\n",
    )
    assert text == (
        "local TWO = 2\nlocal c = {1}\nlocal b\ndo\n  local d = c[1]\n"
        "  function b() return d end\nend\n-- use: a\nreturn b() + TWO\n"
    )


async def test_what_is_called_rarely_is_made_by_the_first_such_call(cell: Cell) -> None:
    """All of it, once, with all that only it uses: so its functions share their state."""
    body = (
        "-- use: counter, twice\n-- rarely: up, now, twice\nreturn {twice(), up(), now(), one()}\n"
    )
    twice = "local function one() return 1 end\nlocal function twice() return up() + up() end\n"
    text = made(body, counter=COUNTER, twice=twice)
    assert await cell.client.eval(text, 0) == [3, 3, 3, 1]
    before, _, later = text.partition("function make()\n")
    assert "local number = 0\n" in later and "local function one()" in before
    assert "function down" not in text
    assert "return {rare().twice(), rare().up(), rare().now(), one()}" in later


def test_what_is_never_called_is_not_made_later() -> None:
    """Then nothing is."""
    assert made("-- use: counter\n-- rarely: up\nreturn 1\n", counter=COUNTER).startswith("-- use")


def test_what_is_made_late_can_only_be_called() -> None:
    """In texts and comments it may be named."""
    head = "-- use: counter\n-- rarely: up, step\n"
    with pytest.raises(ValueError, match="step"):
        made(f"{head}return up() + step\n", counter=COUNTER)
    body = "return {up = t.up, 'up'}  -- up\n"
    with pytest.raises(ValueError, match="up"):
        made(f"{head}up() {body}", counter=COUNTER)
    assert made(f"{head}up() return {{t.up, 'up'}}  -- up\n", counter=COUNTER).endswith(
        "rare().up() return {t.up, 'up'}  -- up\n"
    )


def test_a_script_of_many_libraries_has_several_levels() -> None:
    """Each shortens what Lua walks through for a captured local."""
    assert load_source("reap").count(OPENS) > 2


def test_what_a_warm_placement_does_not_need_is_made_by_the_first_call_that_does() -> None:
    """Which worker can load a model soonest, above all."""
    before, _, later = load_source("place").partition("function make()\n")
    for name in ("fastest_loader", "order_load", "unless_sick"):
        assert f"local function {name}(" in later or f"\n  function {name}(" in later
    assert "function least_loaded(" in before and "function place_item(" in before
