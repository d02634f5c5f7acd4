"""Guards of an exported program: conditions on input sizes, given as text in the file.

For example `(L['x'].size()[0] // 2) != 1`. The text is parsed, never evaluated: numbers, sizes of
inputs, arithmetic and comparisons are understood, and anything else refuses the program.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from shared.errors import Corrupt

Shapes = tuple[tuple[int, ...], ...]
Term = Callable[[Shapes], Any]

MAX_CHARS = 4000
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"max": max, "min": min, "Max": max, "Min": min}


def parse_guard(text: str, ranks: Mapping[str, int]) -> Callable[[Shapes], bool]:
    """A guard as a function of all input shapes, for inputs of these names and ranks in this order.
    Corrupt if it is more than arithmetic on sizes.
    """
    try:
        if len(text) > MAX_CHARS:
            raise Corrupt(f"over {MAX_CHARS} characters")
        term = _Parser(ranks).term(ast.parse(text, mode="eval").body)
    except (Corrupt, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Corrupt(f"program: shape rule {text[:200]!r} is not understood: {error}") from error
    return lambda shapes: _holds(term, shapes)


def _holds(term: Term, shapes: Shapes) -> bool:
    try:
        return bool(term(shapes))
    except ArithmeticError:  # a division by a size of 0
        return False


class _Parser:
    def __init__(self, ranks: Mapping[str, int]) -> None:
        self._ranks = ranks
        self._sizes = {ast.dump(_parse_size_of(name)): name for name in ranks}

    def term(self, node: ast.expr) -> Term:
        handlers: dict[type[ast.expr], Callable[[Any], Term]] = {
            ast.Constant: self._constant,
            ast.Subscript: self._size,
            ast.BinOp: lambda it: self._apply(it.op, it.left, it.right),
            ast.UnaryOp: lambda it: self._apply(it.op, it.operand),
            ast.Compare: self._comparison,
            ast.BoolOp: self._logical,
            ast.Call: self._function,
        }
        if type(node) not in handlers:
            raise Corrupt(f"{type(node).__name__} is not arithmetic on sizes")
        return handlers[type(node)](node)

    def _constant(self, node: ast.Constant) -> Term:
        value = node.value
        if not isinstance(value, int | float):
            raise Corrupt(f"{value!r} is not a number")
        return lambda shapes: value

    def _size(self, node: ast.Subscript) -> Term:
        """`L['x'].size()[1]`: the size of axis 1 of input x."""
        name = self._sizes.get(ast.dump(node.value))
        axis = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if name is None or not isinstance(axis, int) or not 0 <= axis < self._ranks[name]:
            raise Corrupt("it does not name a size of an input")
        index = list(self._ranks).index(name)
        return lambda shapes: shapes[index][axis]

    def _comparison(self, node: ast.Compare) -> Term:
        if len(node.ops) != 1:
            raise Corrupt("it is a chain of comparisons")
        return self._apply(node.ops[0], node.left, node.comparators[0])

    def _logical(self, node: ast.BoolOp) -> Term:
        terms = [self.term(value) for value in node.values]
        if isinstance(node.op, ast.And):
            return lambda shapes: all(term(shapes) for term in terms)
        return lambda shapes: any(term(shapes) for term in terms)

    def _function(self, node: ast.Call) -> Term:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in _FUNCTIONS or node.keywords:
            raise Corrupt(f"function {name[:40]!r}")
        return _combine(_FUNCTIONS[name], [self.term(arg) for arg in node.args])

    def _apply(self, op: ast.AST, *operands: ast.expr) -> Term:
        if type(op) not in _OPERATORS:
            raise Corrupt(f"operator {type(op).__name__}")
        return _combine(_OPERATORS[type(op)], [self.term(operand) for operand in operands])


def _combine(function: Callable[..., Any], operands: list[Term]) -> Term:
    return lambda shapes: function(*(operand(shapes) for operand in operands))


def _parse_size_of(name: str) -> ast.expr:
    return ast.parse(f"L[{name!r}].size()", mode="eval").body
