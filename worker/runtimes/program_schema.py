"""The part of torch.export's JSON (schema version 8) that this project reads, as types.

Decoding keeps exactly these fields and skips the rest unread: stack traces, the call tree, the
descriptions of intermediate values. Unions are objects with one key, as in torch's schema:
`{"as_int": 3}`.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from shared.errors import Corrupt
from shared.platforms import PLATFORMS

PROGRAM_FILE = PLATFORMS["pytorch_program"].program_file
SCHEMA_MAJOR = 8
MAX_PROGRAM_BYTES = 64 << 20

Argument = Annotated[dict[str, Any], Meta(min_length=1, max_length=1)]
Dimension = Annotated[dict[str, Any], Meta(min_length=1, max_length=1)]


class Named(Struct):
    """A reference to a value of the graph."""

    name: str


class Input(Struct, omit_defaults=True):
    """An argument of an operator. `kind`: 1 positional, 2 by keyword."""

    name: str
    arg: Argument
    kind: int | None = None


class Node(Struct, omit_defaults=True):
    """One call: an operator's name, its arguments, the names its results get."""

    target: str
    inputs: list[Input]
    outputs: list[Argument]
    is_hop_single_tensor_return: bool | None = None


class TensorMeta(Struct):
    """Type and layout of a tensor value. `dtype` is a number of torch.export's ScalarType."""

    dtype: int
    sizes: Annotated[list[Dimension], Meta(max_length=64)]
    strides: Annotated[list[Dimension], Meta(max_length=64)]


class Graph(Struct, omit_defaults=True):
    """Calls in the order they run, between inputs and outputs."""

    inputs: list[Argument]
    outputs: list[Argument]
    nodes: list[Node]
    tensor_values: dict[str, TensorMeta]
    is_single_tensor_return: bool = False


class UserInput(Struct):
    arg: Argument


class ParameterInput(Struct):
    arg: Named
    parameter_name: str


class BufferInput(Struct):
    arg: Named
    buffer_name: str


class ConstantTensor(Struct):
    arg: Named
    tensor_constant_name: str


class InputSpec(Struct, omit_defaults=True):
    """The source of one graph input: exactly one of the fields. The last three are not tensors."""

    user_input: UserInput | None = None
    parameter: ParameterInput | None = None
    buffer: BufferInput | None = None
    tensor_constant: ConstantTensor | None = None
    constant_input: dict[str, Any] | None = None
    custom_obj: dict[str, Any] | None = None
    token: dict[str, Any] | None = None


class OutputSpec(Struct, omit_defaults=True):
    """The use of one graph output; any other than the user's output means that state is changed."""

    user_output: UserInput | None = None


class Signature(Struct):
    input_specs: list[InputSpec]
    output_specs: list[OutputSpec]


class GraphModule(Struct):
    graph: Graph
    signature: Signature


class Range(Struct):
    """Bounds of a dimension's symbol, inclusive; None: not bounded."""

    min_val: int | None = None
    max_val: int | None = None


class SchemaVersion(Struct):
    major: int
    minor: int


class Program(Struct):
    """An exported program. `guards_code` are the shape rules that the export relied on."""

    graph_module: GraphModule
    range_constraints: dict[str, Range]
    schema_version: SchemaVersion
    guards_code: list[str] = []


_decoder = msgspec.json.Decoder(Program)


def decode(raw: bytes) -> Program:
    """Read a program, torch's own or ours; Corrupt with the reason if it is not one."""
    if len(raw) > MAX_PROGRAM_BYTES:
        raise Corrupt(f"program: {len(raw)} bytes, over the limit of {MAX_PROGRAM_BYTES}")
    try:
        program = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"program: it does not parse: {error}") from error
    if program.schema_version.major != SCHEMA_MAJOR:
        raise Corrupt(
            f"program: torch.export schema {program.schema_version.major}, this release reads "
            f"{SCHEMA_MAJOR}: export the model again with a matching torch"
        )
    return program
