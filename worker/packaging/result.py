"""What packing gives: the files of a model version, and what its manifest says about it.

Without torch, so that an ONNX model can be packed where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from shared.manifest import Parameter, TensorSpec


@dataclass(frozen=True)
class Packed:
    """What goes into a manifest. `files`: local path by manifest name. `notes`: what the publisher
    should know, though it is no reason to refuse."""

    platform: str
    files: dict[str, Path]
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    parameters: dict[str, Parameter] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
