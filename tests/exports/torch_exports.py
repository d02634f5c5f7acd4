"""The modules through what torch exports: TorchScript, `.pt2`, `--module`, and ONNX twice."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.exports.export import Arrays, Case, Export, Original
from tests.exports.torch_modules import SUBJECTS, Subject, made

Writer = Callable[[Subject, nn.Module, Path], list[str | Path]]
MODULE_FILE = "tests.exports.torch_modules"


def original(subject: Subject, module: nn.Module) -> Original:
    """What the module itself answers, by the names of its outputs."""

    def answer(inputs: Arrays) -> Arrays:
        with torch.inference_mode():
            got = module(*(torch.from_numpy(inputs[name].copy()) for name in subject.inputs))
        if isinstance(got, dict):
            return {name: tensor.numpy() for name, tensor in got.items()}
        tensors = got if isinstance(got, tuple) else (got,)
        return {name: t.numpy() for name, t in zip(subject.outputs, tensors, strict=True)}

    return answer


def export(name: str, write: Writer) -> Callable[[Path], Export]:
    """The export of a subject by one writer."""
    subject = SUBJECTS[name]

    def make(folder: Path) -> Export:
        module, random = made(subject), np.random.default_rng(3)
        push = write(subject, module, folder)
        if subject.rows:
            push += ["--max-batch", "8"]
        questions = [subject.ask(random, rows) for rows in (2, 3, 1, 5)]
        rows = [subject.ask(random, 1) for _ in range(32)]
        return Export(push, original(subject, module), questions, rows)

    return make


def specs(subject: Subject) -> list[str | Path]:
    """Both sides, as the command line wants them where the file does not know them."""
    found: list[str | Path] = []
    for option, side in (("--input", subject.inputs), ("--output", subject.outputs)):
        for name, spec in side.items():
            found += [option, f"{name}:{spec}"]
    return found


def script(subject: Subject, module: nn.Module, folder: Path) -> list[str | Path]:
    with quiet():
        torch.jit.script(module).save(str(folder / "model.pt"))
    return ["--file", folder / "model.pt", *specs(subject)]


def trace(subject: Subject, module: nn.Module, folder: Path) -> list[str | Path]:
    with quiet():
        traced = torch.jit.trace(module, _example(subject), strict=False)
        torch.jit.freeze(traced).save(str(folder / "model.pt"))
    return ["--file", folder / "model.pt", *specs(subject)]


def program(subject: Subject, module: nn.Module, folder: Path) -> list[str | Path]:
    with quiet():
        exported = torch.export.export(module, _example(subject), dynamic_shapes=_sizes(subject))
        torch.export.save(exported, folder / "model.pt2")
    names: list[str | Path] = []
    for output in () if subject.keys else subject.outputs:
        names += ["--output", output]
    return ["--file", folder / "model.pt2", *names]


def whole(subject: Subject, module: nn.Module, folder: Path) -> list[str | Path]:
    return [*program(subject, module, folder), "--format", "whole"]


def by_module(subject: Subject, module: nn.Module, folder: Path) -> list[str | Path]:
    weights = folder / "model.safetensors"
    from safetensors.torch import save_file

    save_file(module.state_dict(), weights)
    found: list[str | Path] = ["--module", f"{MODULE_FILE}:{type(module).__name__}"]
    if module.state_dict():
        found += ["--weights", weights]
    for name, spec in subject.inputs.items():
        found += ["--input", f"{name}:{spec}"]
    for output in () if subject.keys else subject.outputs:
        found += ["--output", output]
    return found


def onnx_dynamo(subject: Subject, module: nn.Module, folder: Path) -> list[str | Path]:
    """Weights go to `model.onnx.data` beside it: what the exporter does by default."""
    with quiet():
        torch.onnx.export(
            module, _example(subject), folder / "model.onnx", dynamo=True,
            input_names=list(subject.inputs), output_names=list(subject.outputs),
            dynamic_shapes=_sizes(subject),
        )  # fmt: skip
    return ["--file", folder / "model.onnx"]


def onnx_classic(subject: Subject, module: nn.Module, folder: Path) -> list[str | Path]:
    free = {
        name: {axis: f"{name}_{axis}" if axis else "batch" for axis in _free(spec)}
        for name, spec in {**subject.inputs, **subject.outputs}.items()
    }
    with quiet():
        torch.onnx.export(
            module, _example(subject), folder / "model.onnx", dynamo=False, dynamic_axes=free,
            input_names=list(subject.inputs), output_names=list(subject.outputs),
        )  # fmt: skip
    return ["--file", folder / "model.onnx"]


def _free(spec: str) -> list[int]:
    sizes = spec.partition(":")[2]
    return [axis for axis, size in enumerate(sizes.split(",")) if size == "-1"]


def _sizes(subject: Subject) -> tuple[dict[int, torch.export.Dim], ...]:
    auto = torch.export.Dim.AUTO
    return tuple(dict.fromkeys(_free(spec), auto) for spec in subject.inputs.values())


def _example(subject: Subject) -> tuple[torch.Tensor, ...]:
    asked = subject.ask(np.random.default_rng(1), 2)
    return tuple(torch.from_numpy(asked[name]) for name in subject.inputs)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Exporters speak of themselves, on both channels."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


ALL = list(SUBJECTS)
SCRIPTED = [name for name in ALL]
TRACED = ["mlp", "convolution", "two-inputs", "named", "attention", "recurrent", "whole"]
BY_DYNAMO = ["mlp", "convolution", "embedding", "two-inputs", "attention"]
BY_CLASSIC = ["mlp", "convolution", "embedding", "two-inputs", "kinds", "recurrent", "half"]
BY_MODULE = ["mlp", "convolution", "two-inputs", "named", "whole"]
WHOLE = ["mlp", "two-inputs", "named", "kinds", "whole"]

CASES = [
    Case(f"{kind}-{name}", export(name, write))
    for kind, write, names in (
        ("script", script, SCRIPTED),
        ("trace", trace, TRACED),
        ("program", program, ALL),
        ("whole", whole, WHOLE),
        ("module", by_module, BY_MODULE),
        ("onnx-dynamo", onnx_dynamo, BY_DYNAMO),
        ("onnx-classic", onnx_classic, BY_CLASSIC),
    )
    for name in names
]
