"""The project's own files, as the rules look at them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("router", "worker", "shared", "deploy")


def files(suffix: str, *folders: str) -> list[Path]:
    """Every file with `suffix` below the folders (the packages by default), but generated code."""
    found = (path for folder in folders or PACKAGES for path in (ROOT / folder).rglob(f"*{suffix}"))
    return sorted(path for path in found if not path.stem.endswith(("_pb2", "_pb2_grpc")))


def named(path: Path) -> str:
    """The path as a message shows it."""
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    """The parsed module."""
    return ast.parse(path.read_text(), str(path))


def imports(path: Path, *, everywhere: bool = True) -> Iterator[str]:
    """Dotted names that a module imports; with `everywhere` also inside functions.

    `from a import b` counts as `a` and as `a.b`, since b may be a module. What stands below
    `if TYPE_CHECKING:` is never run, and not counted at the top.
    """
    body = tree(path)
    for node in ast.walk(body) if everywhere else body.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
