"""What the manifest says about a program."""

from __future__ import annotations

from collections.abc import Sequence

from shared.errors import Corrupt, InvalidInput
from shared.manifest import TensorSpec
from worker.runtimes import dtypes
from worker.runtimes.pack_result import Packed as Packed
from worker.runtimes.program import split_inputs
from worker.runtimes.program_schema import Program, TensorMeta
from worker.runtimes.shape_rules import sizes


def describe(
    program: Program,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs of a program, -1 where a size varies. Names are the export's own for
    inputs and `output`, or `output_0` and so on, unless given. Corrupt if an output is no tensor.
    """
    graph = program.graph_module.graph
    inputs, _ = split_inputs(program)
    outputs = [_output_name(number, output) for number, output in enumerate(graph.outputs)]
    plain = ["output"] if len(outputs) == 1 else [f"output_{n}" for n in range(len(outputs))]
    return (
        _specs("inputs", input_names or inputs, [graph.tensor_values[name] for name in inputs]),
        _specs("outputs", output_names or plain, [graph.tensor_values[name] for name in outputs]),
    )


def _output_name(number: int, output: dict[str, dict[str, str]]) -> str:
    if "as_tensor" not in output:
        raise Corrupt(f"program: output {number} is no tensor")
    return output["as_tensor"]["name"]


def _specs(kind: str, names: Sequence[str], metas: Sequence[TensorMeta]) -> list[TensorSpec]:
    if len(names) != len(metas):
        raise InvalidInput(f"{kind}: {len(names)} names for {len(metas)} tensors")
    return [
        TensorSpec(name, dtypes.v2_name(dtypes.EXPORT[meta.dtype]), sizes(meta))
        for name, meta in zip(names, metas, strict=True)
    ]
