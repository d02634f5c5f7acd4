"""The architectures that a manifest may name. Adding one: a module here, and an entry below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from torch import nn

from shared.errors import LoadFailed
from shared.manifest import TensorSpec
from worker.runtimes.architectures import bert_encoder, mtcnn_onet


class Architecture(NamedTuple):
    """A class of models. `unused`: beginnings of names that published state dicts have and the
    architecture does not need. `config` has a default for every size.
    """

    name: str
    config: type[msgspec.Struct]
    build: Callable[[Any], nn.Module]
    inputs: Callable[[Any], list[TensorSpec]]
    outputs: Callable[[Any], list[TensorSpec]]
    unused: tuple[str, ...] = ()


_KNOWN = {
    "bert_encoder": Architecture(
        "bert_encoder",
        bert_encoder.BertConfig,
        bert_encoder.BertEncoder,
        bert_encoder.inputs,
        bert_encoder.outputs,
        unused=("pooler.", "embeddings.position_ids"),
    ),
    "mtcnn_onet": Architecture(
        "mtcnn_onet",
        mtcnn_onet.ONetConfig,
        mtcnn_onet.ONet,
        mtcnn_onet.inputs,
        mtcnn_onet.outputs,
    ),
}


def architecture(name: str) -> Architecture:
    """The architecture called `name`; LoadFailed naming those there are."""
    if name not in _KNOWN:
        raise LoadFailed(f"architecture {name[:80]!r} is unknown, want one of {sorted(_KNOWN)}")
    return _KNOWN[name]
