"""Leases and deadlines know one clock, Redis's: nobody decides by the clock of his host."""

from __future__ import annotations

import ast

from tests.contract.sources import ROOT, files, named, tree

WALL_CLOCKS = ("time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today")
# The age of a file is told by the clock that wrote it: leftovers, a minute or a day old. And one
# looks whether the clock of its host is right: stores refuse what a wrong one signs. A store has
# no clock: the notes in its index have their writers', and a wrong one costs a listing.
ALLOWED = {
    "worker/health/checks.py",
    "shared/shared_memory.py",
    "shared/repository/index.py",
    "shared/repository/naming.py",
    "worker/runtimes/onnx_session.py",
}


def test_only_the_age_of_a_file_uses_the_hosts_clock() -> None:
    """A clock that jumps moves no lease and no deadline (F25)."""
    found = {
        named(path)
        for path in files(".py", "router", "worker", "shared")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(WALL_CLOCKS)
    }
    assert found == ALLOWED


def test_scripts_read_the_clock_in_one_place() -> None:
    """`clock()`, which a test may hold still; `register` makes epochs that only grow of it too."""
    lua = (ROOT / "shared" / "lua").rglob("*.lua")
    readers = {named(path) for path in lua if "'TIME'" in path.read_text()}
    assert readers == {"shared/lua/lib/keys.lua", "shared/lua/register.lua"}
