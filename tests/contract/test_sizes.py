"""Small files and small functions: what grows over a limit is cut anew, without exceptions."""

from __future__ import annotations

import ast

from tests.contract.sources import PACKAGES, files, named, tree

MODULE_LINES, FUNCTION_LINES, SCRIPT_LINES = 250, 40, 80


def test_no_module_is_longer_than_250_lines() -> None:
    """Tests included."""
    sizes = {named(path): _lines(path) for path in files(".py", *PACKAGES, "tests")}
    assert sizes
    assert _over(sizes, MODULE_LINES) == {}


def test_no_function_is_longer_than_40_lines() -> None:
    """From `def` to its last line, docstring included, decorators not."""
    sizes = {
        f"{named(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in files(".py", *PACKAGES, "tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert sizes
    assert _over(sizes, FUNCTION_LINES) == {}


def test_no_lua_script_is_longer_than_80_lines() -> None:
    """Its contract on top included."""
    sizes = {named(path): _lines(path) for path in files(".lua", *PACKAGES, "tests")}
    assert sizes
    assert _over(sizes, SCRIPT_LINES) == {}


def _lines(path) -> int:
    return len(path.read_text().splitlines())


def _over(sizes: dict[str, int], limit: int) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if size > limit}
