"""The platforms: the formats in which a model version can be published, one row each.

The gateway, the workers and `push` all read this table. A further platform is a row here, a loader
in `worker/runtimes`, and a packer in `worker/packaging`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal


class Sharing(Enum):
    """Which files of a version several copies can hold in memory together."""

    NOTHING = "nothing"  # all bytes of a copy are its own
    WEIGHTS = (
        "weights"  # the files below `weights/`: known before the load, and host memory keeps them
    )
    WHOLE_FILE = "file"  # the one file, once it has been opened


@dataclass(frozen=True, kw_only=True)
class Platform:
    """One format. `trust`: `data` cannot run code; `code` can, so the operator has to allow it.
    `loader`: `module:function(manifest, files, device)` that returns a LoadedModel. `packer`:
    `module:function(file, scratch, inputs, outputs)` that returns a Packed, of the formats that are
    pushed as a file. `suffixes`: the names of such files. `whole`: of two formats with one suffix,
    the one that `--format whole` chooses. `program_file`: the file that holds the program and that
    variants share. `program_in_parameters`: the manifest's parameters name the program instead.
    `library`: imported before the first load, so that its memory is not taken for the model's."""

    trust: Literal["data", "code"]
    loader: str
    sharing: Sharing = Sharing.NOTHING
    packer: str = ""
    suffixes: tuple[str, ...] = ()
    whole: bool = False
    program_file: str = ""
    program_in_parameters: bool = False
    library: str = ""


PLATFORMS = {
    # An allow-listed architecture, and its weights as safetensors.
    "pytorch_architecture": Platform(
        trust="data",
        loader="worker.runtimes.pytorch_architecture:load",
        sharing=Sharing.WEIGHTS,
        program_in_parameters=True,
    ),
    # A torch.export graph as JSON, and its weights as safetensors.
    "pytorch_program": Platform(
        trust="code",
        loader="worker.runtimes.pytorch_program:load",
        sharing=Sharing.WEIGHTS,
        packer="worker.packaging.program:pack_file",
        suffixes=(".pt2",),
        program_file="program.json",
    ),
    "pytorch_torchscript": Platform(
        trust="code",
        loader="worker.runtimes.pytorch_torchscript:load",
        packer="worker.packaging.whole_file:pack_torchscript_file",
        suffixes=(".pt", ".pth", ".ts", ".jit", ".torchscript"),
    ),
    # A whole torch.export archive.
    "pytorch_pt2": Platform(
        trust="code",
        loader="worker.runtimes.pytorch_pt2:load",
        sharing=Sharing.WHOLE_FILE,
        packer="worker.packaging.whole_file:pack_pt2_file",
        suffixes=(".pt2",),
        whole=True,
    ),
    "onnxruntime_onnx": Platform(
        trust="code",
        loader="worker.runtimes.onnxruntime_onnx:load",
        packer="worker.packaging.onnx:pack_file",
        suffixes=(".onnx",),
        library="onnxruntime",
    ),
}


# Names of files whose bytes are run, or decide what is run: hashed at each use.
CODE_FILES = frozenset({"model.pt", "model.pt2", "model.onnx", "program.json"})


def resolve(dotted: str) -> Callable[..., Any]:
    """The function that `module:function` names; imports the module."""
    module, _, name = dotted.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
