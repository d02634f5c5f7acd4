"""Arguments of a program's calls: JSON to what torch.fx puts into a graph.

Values are looked up by name in what was computed before; nothing is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.fx import Node

from shared.errors import Corrupt
from worker.runtimes import dtypes

LAYOUTS = {7: torch.strided}
MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}


class Arguments:
    """Decodes arguments against `values` (name to node). Devices become `device`: a program
    exported on a CPU runs on the GPU of its worker. `subgraph` turns a nested graph into a node.
    """

    def __init__(
        self,
        values: Mapping[str, Node],
        device: torch.device,
        subgraph: Callable[[dict[str, Any]], Node],
    ) -> None:
        self._values = values
        self._decoders: dict[str, Callable[[Any], Any]] = {
            "as_none": lambda _: None,
            "as_tensor": self._node,
            "as_tensors": lambda items: [self._node(item) for item in items],
            "as_optional_tensor": self._optional,
            "as_optional_tensors": lambda items: [self._optional(item) for item in items],
            "as_nested_tensors": lambda rows: [[self._node(item) for item in row] for row in rows],
            "as_int": int,
            "as_ints": lambda items: [int(item) for item in items],
            "as_float": float,
            "as_floats": lambda items: [float(item) for item in items],
            "as_bool": bool,
            "as_bools": lambda items: [bool(item) for item in items],
            "as_string": str,
            "as_strings": lambda items: [str(item) for item in items],
            "as_complex": lambda item: complex(float(item["real"]), float(item["imag"])),
            "as_sym_int": self._symbolic,
            "as_sym_ints": lambda items: [self._symbolic(item) for item in items],
            "as_sym_float": self._symbolic,
            "as_sym_floats": lambda items: [self._symbolic(item) for item in items],
            "as_sym_bool": self._symbolic,
            "as_sym_bools": lambda items: [self._symbolic(item) for item in items],
            "as_scalar_type": lambda number: dtypes.EXPORT[number],
            "as_layout": lambda number: LAYOUTS[number],
            "as_memory_format": lambda number: MEMORY_FORMATS[number],
            "as_device": lambda _: device,
            "as_graph": subgraph,
        }

    def decode(self, argument: Mapping[str, Any]) -> Any:
        """The value of one argument; Corrupt if its kind is unknown or it does not fit it."""
        ((kind, value),) = argument.items()
        if kind not in self._decoders:
            raise Corrupt(f"program: an argument of kind {kind[:40]!r} is not supported")
        try:
            return self._decoders[kind](value)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Corrupt(
                f"program: an argument of kind {kind!r} does not parse: {error}"
            ) from error

    def _node(self, item: Mapping[str, Any]) -> Node:
        return self._values[item["name"]]

    def _optional(self, item: Mapping[str, Any]) -> Node | None:
        return None if "as_none" in item else self._node(item["as_tensor"])

    def _symbolic(self, item: Mapping[str, Any]) -> Any:
        """A number that was computed (`as_name`), or a literal under its own kind."""
        ((kind, value),) = item.items()
        return self._values[value] if kind == "as_name" else self.decode(item)
