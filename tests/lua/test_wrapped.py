"""Scripts as tests run them: inside of a function, whose own `redis` each of them captures."""

from __future__ import annotations

import pytest

from shared.script_runner import load_source
from tests.contract.sources import ROOT
from tests.helpers.cell import Cell

NAMES = sorted(path.stem for path in (ROOT / "shared" / "lua").glob("*.lua"))
WRAPPED = "local redis = redis\nlocal function script()\n{}\nend\nreturn script()"


@pytest.mark.parametrize("name", NAMES)
async def test_a_script_has_room_for_a_wrapper(cell: Cell, name: str) -> None:
    """A function of Lua 5.1 captures 60 names at most, so a script must not need them all."""
    assert await cell.client.script_load(WRAPPED.format(load_source(name)))
