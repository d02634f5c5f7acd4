"""The result of packing: the files of a model version, and the contents of its manifest.

Without torch, so that an ONNX model can be packed where torch is not installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from shared.manifest import Parameter, TensorSpec


@dataclass(frozen=True)
class Packed:
    """The contents of a manifest. `files`: local path by manifest name. `notes`: what the publisher
    should know, although it is not a reason to refuse the model."""

    platform: str
    files: dict[str, Path]
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    parameters: dict[str, Parameter] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
