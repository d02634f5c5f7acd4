"""Every failpoint that a kind of process can reach, read from the code.

A script call is two points, `<script>.before` and `<script>.after`; the code names others itself.
Which process reaches what follows from what its `__main__` imports, at the top or later.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from tests.contract.sources import ROOT, tree

MAIN = {
    "gateway": "router/__main__.py",
    "device": "worker/process.py",
    "parent": "worker/__main__.py",
}
SCRIPTS = (
    "shared/gateway_scripts.py", "shared/housekeeping_scripts.py", "shared/worker_scripts.py",
)  # fmt: skip
REACHES = ("failpoints.reach", "failpoints.reach_now")


def points_of(kind: str) -> set[str]:
    """All points of one kind of process."""
    found = set[str]()
    for path in _closure(ROOT / MAIN[kind]):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in REACHES:
                # (That of `script_runner.py` is made of the script's name: see below.)
                found |= {str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)}
            if isinstance(node, ast.Attribute) and node.attr in _scripts():
                found |= _around(node)
    return found


def _around(method: ast.Attribute) -> set[str]:
    """The points of a method of `scripts` that is called, or handed on to be called."""
    if not ast.unparse(method.value).endswith("scripts"):
        return set()
    scripts = _scripts()[method.attr]
    return {f"{script}.{when}" for script in scripts for when in ("before", "after")}


@cache
def _scripts() -> dict[str, set[str]]:
    """Methods of `Scripts`, and the scripts that each runs, those of its own helpers too."""
    nodes = (node for path in SCRIPTS for node in ast.walk(tree(ROOT / path)))
    methods = {node.name: node for node in nodes if isinstance(node, ast.AsyncFunctionDef)}
    found = {name: _run_by(method, methods) for name, method in methods.items()}
    return {name: scripts for name, scripts in found.items() if scripts}


def _run_by(method: ast.AsyncFunctionDef, methods: dict[str, ast.AsyncFunctionDef]) -> set[str]:
    scripts = set[str]()
    for call in ast.walk(method):
        if not isinstance(call, ast.Call):
            continue
        name = ast.unparse(call.func).removeprefix("self.")
        if name in ("_run", "_counts"):
            if isinstance(call.args[0], ast.Constant):
                scripts.add(str(call.args[0].value))
        elif name in methods:
            scripts |= _run_by(methods[name], methods)
    return scripts


def scripts_run() -> set[str]:
    """Every script that `Scripts` can run."""
    return set[str]().union(*_scripts().values())


def _closure(start: Path) -> set[Path]:
    """The modules of the project that a module brings in, itself too."""
    seen: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += _imports(path)
    return seen


def _imports(path: Path) -> list[Path]:
    names = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    places = (ROOT / name.replace(".", "/") for name in names)
    found = [each for place in places for each in (place.with_suffix(".py"), place / "__init__.py")]
    return [each for each in found if each.exists()]
