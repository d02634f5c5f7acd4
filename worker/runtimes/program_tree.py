"""The trees of an exported program: names for the nested values of its flat inputs and outputs.

torch.export takes and returns trees (dicts, lists, dataclasses) and keeps their form beside the
graph, whose own inputs and outputs are flat. The form is read as data: types named in it are
neither imported nor looked up, so the fields of a NamedTuple, which the file does not name, have
only positions.
"""

from __future__ import annotations

import ast
from typing import Any

import msgspec
from msgspec import Struct

from worker.runtimes.program_schema import Program

Path = tuple[str | int, ...]
MAX_DEPTH = 32


class Forms(Struct):
    """The trees as JSON text, as torch.export writes them, and the names of forward()'s arguments,
    those by position first."""

    in_spec: str
    out_spec: str
    forward_arg_names: list[str] | None = None


class _Call(Struct):
    fqn: str
    signature: Forms | None = None


class _Module(Struct):
    module_call_graph: list[_Call] = []


class _Archived(Struct):
    graph_module: _Module


class _Node(Struct):
    children_spec: list[_Node]
    type: str | None = None
    context: str | None = None


class Trees(Struct):
    """Paths of all leaves in the order of the graph; None where the file does not name them."""

    inputs: list[Path] | None = None
    outputs: list[Path] | None = None


_archived = msgspec.json.Decoder(_Archived)
_tree = msgspec.json.Decoder(tuple[int, _Node])


def read_trees(raw: bytes) -> Trees:
    """The paths of inputs and outputs in torch.export's JSON, as far as they can be understood."""
    try:
        calls = _archived.decode(raw).graph_module.module_call_graph
        forms = next((call.signature for call in calls if call.fqn == ""), None)
        if forms is None:
            return Trees()
        inputs = _leaves(_tree.decode(forms.in_spec)[1])
        outputs = _leaves(_tree.decode(forms.out_spec)[1])
        return Trees(_arguments(inputs, forms.forward_arg_names), outputs)
    except (msgspec.MsgspecError, RecursionError, ValueError, UnicodeDecodeError):
        return Trees()


def dotted(path: Path) -> str:
    """A path as one name: `d.a`, `images.0`."""
    return ".".join(map(str, path))


def flatten_guards(program: Program, trees: Trees) -> Program:
    """The program with shape rules on the graph's own inputs, since the published form has no
    trees: `L['d']['a'].size()` becomes `L['d_a'].size()`."""
    nested = {
        path: name
        for path, name in zip(trees.inputs or [], user_inputs(program), strict=False)
        if name is not None and path != (name,)
    }
    guards = [_flat_guard(text, nested) for text in program.guards_code]
    return msgspec.structs.replace(program, guards_code=guards)


def user_inputs(program: Program) -> list[str | None]:
    """The graph's inputs that stand for the caller's leaves, in order; None for a constant."""
    found: list[str | None] = []
    for spec in program.graph_module.signature.input_specs:
        if spec.user_input is not None:
            found.append(spec.user_input.arg.get("as_tensor", {}).get("name"))
        elif spec.constant_input is not None:
            found.append(None)
    return found


def _arguments(leaves: list[Path], names: list[str] | None) -> list[Path] | None:
    """Leaves of (positional, by keyword), with the names of forward() instead of places."""
    found: list[Path] = []
    for kind, head, *rest in leaves:
        if kind == 1:
            found.append((head, *rest))
        elif names is not None and isinstance(head, int) and head < len(names):
            found.append((names[head], *rest))
        else:
            return None
    return found


def _leaves(node: _Node, depth: int = 0) -> list[Path]:
    if node.type is None:
        return [()]
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    return [
        (key, *path)
        for key, child in zip(_keys(node), node.children_spec, strict=True)
        for path in _leaves(child, depth + 1)
    ]


def _keys(node: _Node) -> list[str | int]:
    """Keys of a dict's children, fields of a dataclass's; places for all else."""
    places: list[str | int] = list(range(len(node.children_spec)))
    try:
        context: Any = msgspec.json.decode(node.context or "null")
    except msgspec.MsgspecError:  # of a NamedTuple: the name of its type
        return places
    if isinstance(context, list) and len(context) == 2 and isinstance(context[0], list):
        context = context[0]  # of a dataclass: its fields, and those that are None
    fits = isinstance(context, list) and len(context) == len(places)
    return context if fits and all(isinstance(key, str | int) for key in context) else places


def _flat_guard(text: str, nested: dict[Path, str]) -> str:
    try:
        flattened = _Flattened(nested)
        tree = flattened.visit(ast.parse(text, mode="eval"))
        return ast.unparse(tree) if flattened.changed else text
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text  # refused where it is parsed to be used


class _Flattened(ast.NodeTransformer):
    def __init__(self, nested: dict[Path, str]) -> None:
        self._nested = nested
        self.changed = False

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return self._replaced(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return self._replaced(node)

    def _replaced(self, node: ast.AST) -> ast.AST:
        name = self._nested.get(_source(node))
        if name is None:
            return self.generic_visit(node)
        self.changed = True
        return ast.parse(f"L[{name!r}]", mode="eval").body


def _source(node: ast.AST) -> Path:
    """The path in `L['d']['a']`, `L['images'][0]` or `L['d'].a`; () for anything else."""
    path: list[str | int] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            path.insert(0, node.slice.value)  # type: ignore[arg-type] # looked up, never used
        elif isinstance(node, ast.Attribute):
            path.insert(0, node.attr)
        else:
            return ()
        node = node.value
    return tuple(path) if node.id == "L" else ()
