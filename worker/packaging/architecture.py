"""Packing weights for an allow-listed architecture: data only, no code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from torch import Tensor

from shared.manifest import Parameter
from worker.packaging.program_manifest import Packed
from worker.packaging.weight_files import split_weights, take_aliases
from worker.runtimes.architectures import architecture
from worker.runtimes.pytorch_architecture import (
    CONFIG,
    NAME,
    build_skeleton,
    read_config,
    with_weights,
)


def pack_architecture(
    name: str, config: Mapping[str, Parameter], state_dict: Mapping[str, Tensor], out_dir: Path
) -> Packed:
    """Pack a state dict of architecture `name` as platform `pytorch_architecture`. Sizes that
    `config` does not give are the architecture's defaults; all of them become parameters of the
    manifest. LoadFailed or Corrupt if the name, a size or a tensor does not fit."""
    kind = architecture(name)
    sized = read_config(kind, {CONFIG + key: value for key, value in config.items()})
    tensors = {key: t for key, t in state_dict.items() if not key.startswith(kind.unused)}
    with_weights(build_skeleton(kind, sized), tensors)
    kept, aliases = take_aliases(tensors)
    sizes = {CONFIG + key: value for key, value in msgspec.to_builtins(sized).items()}
    return Packed(
        "pytorch_architecture",
        split_weights(kept, out_dir),
        kind.inputs(sized),
        kind.outputs(sized),
        {NAME: name, **sizes, **aliases},
    )
