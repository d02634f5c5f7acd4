"""Sizes of a program's inputs: fixed, a symbol that varies, or computed from symbols.

The file has computed sizes as text, such as `Add(Symbol('s77', ...), Integer(1))`. It is parsed and
never evaluated as Python. A size that is not understood stays unknown, and then no shape is
proposed: which shapes a program accepts is decided by its ranges and guards.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

from worker.runtimes.program_schema import TensorMeta

SYMBOL = re.compile(r"Symbol\('(\w+)'[^()]*\)")
Dimension = int | str | None  # a fixed size, a symbol's name, or computed (guards cover it)
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": lambda *terms: sum(terms),
    "Mul": lambda *terms: math.prod(terms),
    "FloorDiv": operator.floordiv,
    "CleanDiv": operator.floordiv,
    "CeilToInt": math.ceil,
    "Mod": operator.mod,
    "PythonMod": operator.mod,
    "Max": lambda *terms: reduce(max, terms),
    "Min": lambda *terms: reduce(min, terms),
}


def dimensions(meta: TensorMeta) -> list[Dimension]:
    """The sizes of a tensor; None for one that is computed."""
    return [
        int(size["as_int"]) if "as_int" in size else _symbol(_text(size)) for size in meta.sizes
    ]


def evaluate(meta: TensorMeta, symbols: Mapping[str, int]) -> tuple[int, ...] | None:
    """The shape where symbols have these values; None if one of its sizes is not understood."""
    try:
        return tuple(
            int(size["as_int"])
            if "as_int" in size
            else _value(ast.parse(_text(size), mode="eval").body, symbols)
            for size in meta.sizes
        )
    except (ValueError, KeyError, TypeError, ArithmeticError, SyntaxError, RecursionError):
        return None


def symbols_of(meta: TensorMeta) -> set[str]:
    """All symbols in the sizes of a tensor, also where they are part of a computed one."""
    texts = [_text(size) for size in meta.sizes if "as_int" not in size]
    return {name for text in texts for name in SYMBOL.findall(text)}


def _text(size: Mapping[str, Any]) -> str:
    return str(size["as_expr"]["expr_str"])


def _symbol(expression: str) -> str | None:
    match = SYMBOL.fullmatch(expression)
    return match[1] if match else None


def _value(node: ast.expr, symbols: Mapping[str, int]) -> int:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ValueError("not a term")
    if node.func.id in ("Symbol", "Integer") and isinstance(node.args[0], ast.Constant):
        value = node.args[0].value
        return symbols[str(value)] if node.func.id == "Symbol" else int(str(value))
    if node.func.id == "Integer":  # of a negative number
        return int(ast.literal_eval(node.args[0]))
    return int(_FUNCTIONS[node.func.id](*(_value(arg, symbols) for arg in node.args)))
