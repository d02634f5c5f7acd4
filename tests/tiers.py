"""Which tier each test belongs to, and which tests share a process of pytest-xdist.

| tier | what it takes | targets that run it |
|---|---|---|
| `unit` | one Redis, little time | `make quick`, `make test` |
| `scripts` | the Lua scripts on one Redis; on every version in `make prove` | all three |
| `system` | processes, object stores and sample models | `make test` |
| `prove` | searches, fault injection, fuzzing, and whatever is marked `slow` | `make prove` |
"""

from __future__ import annotations

from pathlib import PurePosixPath

NAMES = ("unit", "scripts", "system", "prove")

# The longest path that a test is under counts.
TIERS = {
    "chaos": "prove",
    "contract": "unit",
    "deploy": "unit",
    "deploy/bench": "system",
    "deploy/local": "system",
    "deploy/samples": "system",
    "exports": "prove",
    "failpoints": "prove",
    "fuzz": "prove",
    "judge": "unit",
    "lua": "scripts",
    "model": "prove",
    "router": "unit",
    "shared": "unit",
    "simulation": "prove",
    "system": "system",
    "tour": "system",
    "worker": "unit",
    # Files that need far longer than their neighbours: object stores, processes, real memory.
    "deploy/cli/test_push_bad_files.py": "system",
    "worker/loading/test_ledger_is_true.py": "system",
    "worker/runtimes/test_bytes_come_back.py": "system",
    "worker/weight_cache/test_store_faults.py": "system",
}

# Each test of these goes to whichever process is free. The tests of any other file stay together,
# and with them the servers that the file starts.
SPREAD = (
    "exports",
    "failpoints/test_every_point.py",
    "model/test_mutants.py",
    "simulation/test_planted_bugs.py",
    "system/test_pushes.py",
)


def tier_of(path: str) -> str:
    """The tier of a test file, given relative to `tests/`; KeyError for a folder without one."""
    return TIERS[_longest(path, TIERS)]


def together(node_id: str) -> str:
    """The part of a test's id that is the same for all tests that must run in one process."""
    path = node_id.partition("::")[0]
    inside = path.removeprefix("tests/")
    return node_id if any(_under(inside, each) for each in SPREAD) else path


def _longest(path: str, prefixes: dict[str, str]) -> str:
    found = [prefix for prefix in prefixes if _under(path, prefix)]
    if not found:
        raise KeyError(f"tests/{path} has no tier: add its folder to TIERS in tests/tiers.py")
    return max(found, key=len)


def _under(path: str, prefix: str) -> bool:
    return PurePosixPath(path).is_relative_to(prefix)
