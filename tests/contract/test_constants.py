"""Values of processes and scripts stand in both twins; no name of a Lua library stands twice."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from shared import constants
from shared.script_text import _USES as USES
from tests.contract.sources import ROOT

LUA = ROOT / "shared" / "lua"
LIBRARIES = {path.stem: path.read_text() for path in (LUA / "lib").glob("*.lua")}
SCRIPTS = {path.stem: path.read_text() for path in LUA.glob("*.lua")}
OF_PROCESSES = {"PROTOCOL", "OLDEST_PROTOCOL"}  # they come with the calls
KEYS = {"COLD_QUEUE"}  # in Lua the whole key


def shared_values() -> dict[str, object]:
    """Every constant of shared/constants.py."""
    return {name: value for name, value in vars(constants).items() if name.isupper()}


def lua_values() -> dict[str, object]:
    """Numbers and texts of lua/lib/constants.lua."""
    found: dict[str, object] = {}
    for names, values in re.findall(
        r"^local ([A-Z_, ]+) = ([^{\n]+?)(?:  --.*)?$", LIBRARIES["constants"], re.MULTILINE
    ):
        for name, value in zip(names.split(", "), values.split(", "), strict=True):
            found[name] = value.strip("'") if value.startswith("'") else value
    return {k: int(v) if str(v).isdigit() else v for k, v in found.items()}


def table(name: str) -> set[str]:
    """The names of a Lua table that is a set."""
    written = re.search(rf"local {name} = {{(.+?)}}", LIBRARIES["constants"], re.DOTALL)
    assert written, name
    return set(re.findall(r"(\w+) = true", written[1]))


def locals_of(text: str) -> list[str]:
    """Names that stand at the top of a file."""
    names = re.findall(r"^local function (\w+)", text, re.MULTILINE)
    for listed in re.findall(r"^local (?!function)([\w, ]+?)(?: = .*)?$", text, re.MULTILINE):
        names += [name.strip() for name in listed.split(",")]
    return names


def test_both_twins_have_the_same_values() -> None:
    """Each constant of the one is in the other; sets of fields too."""
    ours, theirs = shared_values(), lua_values()
    assert table("ENTRY_FIELDS") == set(constants.ENTRY_FIELDS)
    assert table("DOOR_FIELDS") == constants.DOOR_FIELDS
    plain = {k: v for k, v in ours.items() if isinstance(v, int | str)}
    assert set(plain) - OF_PROCESSES - set(theirs) == set()
    assert {k: v for k, v in plain.items() if k not in OF_PROCESSES | KEYS} == {
        k: v for k, v in theirs.items() if k in plain and k not in KEYS
    }
    assert theirs["COLD_QUEUE"] == f"P .. 'rq:queue:{constants.COLD_QUEUE}'"


def test_no_two_libraries_define_one_name() -> None:
    """They are joined into one script, where the second would replace the first."""
    count = Counter(name for text in LIBRARIES.values() for name in set(locals_of(text)))
    assert {name for name, times in count.items() if times > 1} == set()


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_a_script_replaces_no_name_of_its_libraries(script: str) -> None:
    """Nor does it use a name of a library that it does not name."""
    used = USES.search(SCRIPTS[script])
    names = {name for part in used[1].split(",") for name in locals_of(LIBRARIES[part.strip()])}  # type: ignore[index]
    assert set(locals_of(SCRIPTS[script])) & names == set()


def test_no_flag_is_a_letter_in_a_script() -> None:
    """Nor is a group, or a cap of what is shared."""
    letters = [
        name
        for name, text in (SCRIPTS | LIBRARIES).items()
        if name != "constants" and re.search(r"'[kpchg]'|'MAXLEN', (?:'~', )?\d", text)
    ]
    assert letters == []
