"""Exports a module to a torch.export archive (`.pt2`), the same bytes on every machine.

It holds no example inputs: torch would unpickle them.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deploy.samples.archive import rewrite


def write(module: nn.Module, examples: tuple[Tensor, ...], dynamic_shapes: Any, path: Path) -> None:
    """Export `module` as `examples` and torch.export's `dynamic_shapes` show it, to `path`."""
    with torch.no_grad():
        exported = torch.export.export(module.eval(), examples, dynamic_shapes=dynamic_shapes)
    exported.example_inputs = None
    for node in exported.graph.nodes:
        # Paths of this machine's source files.
        node.meta.pop("stack_trace", None)
    saved = io.BytesIO()
    torch.export.save(exported, saved)
    rewrite(saved, path, lambda member: not member.endswith("serialization_id"))
