"""Traces a module to a TorchScript archive, the same bytes on every machine."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from deploy.samples.archive import rewrite


def write(module: nn.Module, examples: tuple[Tensor, ...], path: Path) -> None:
    """Trace `module` on `examples` and write the archive to `path`."""
    traced = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # Deprecated in favour of torch.export; here it is one of the formats to be shown.
        warnings.simplefilter("ignore", DeprecationWarning)
        # An LSTM compares its input's width with its own, and that is fixed.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        torch.jit.save(torch.jit.trace(module.eval(), examples), traced)  # type: ignore[no-untyped-call]
    rewrite(traced, path, _needed)


def _needed(member: str) -> bool:
    left_out = (".debug_pkl", "traced_inputs.pkl", "serialization_id")
    return not member.endswith(left_out) and "/traced_inputs/" not in member
