"""Turns a file, a module or weights into the files and tensor specs of a version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.cli.errors import CannotDo, WrongUse
from deploy.cli.example import read_example
from deploy.cli.sources import (
    ONNX,
    PT2,
    TORCHSCRIPT,
    check_content,
    check_weights,
    format_of,
    make_module,
)
from deploy.cli.specs import read_said, read_spec
from shared.errors import InvalidInput, WarmrouteError
from shared.manifest import TensorSpec
from worker.packaging.result import Packed
from worker.runtimes.naming import Said, name_of

EXTRA = ("torch", "safetensors", "onnx", "onnxruntime", "google")  # of the extra `worker`


@dataclass(frozen=True)
class Source:
    """What the command line names. `inputs` and `outputs` are specs as written there."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    file: Path | None = None
    format: str | None = None  # of a .pt2: program (default) or whole
    module: str | None = None
    architecture: str | None = None
    sizes: Sequence[str] = ()
    weights: Path | None = None
    example: Path | None = None


def prepare(source: Source, scratch: Path) -> Packed:
    """Pack `source`, new files below `scratch`. WrongUse or an error of the tree if it cannot be
    served; push refuses every model that a worker would refuse."""
    given = [source.file, source.module, source.architecture]
    if sum(one is not None for one in given) != 1:
        raise WrongUse("give one of --file, --module and --architecture")
    _refuse_unused_options(source)
    if source.weights is not None:
        check_weights(source.weights)
    if source.example is not None:
        check_content(source.example, ".npz")
    with _worker_extra(), _naming(source.file or source.module or source.architecture):
        return _packed(source, scratch)


def _packed(source: Source, scratch: Path) -> Packed:
    if source.module is not None:
        return _from_module(source, source.module, scratch)
    if source.architecture is not None:
        return _from_architecture(source, source.architecture, scratch)
    assert source.file is not None
    return _from_file(source, source.file, scratch)


def _refuse_unused_options(source: Source) -> None:
    """WrongUse for an option that would have no effect."""
    for option, given, fits, belongs in (
        ("--format", source.format, source.file, "--file of a .pt2"),
        ("--weights", source.weights, source.file is None, "--module or --architecture"),
        ("--size", source.sizes, source.architecture, "--architecture"),
    ):
        if given and not fits:
            raise WrongUse(f"{option} goes with {belongs} only")


@contextmanager
def _naming(what: Path | str | None) -> Iterator[None]:
    """Errors name the file, module or architecture that is pushed."""
    try:
        yield
    except WarmrouteError as error:
        if str(what) in error.message or (isinstance(what, Path) and what.name in error.message):
            raise
        kind = WrongUse if isinstance(error, InvalidInput) else type(error)
        raise kind(f"{what}: {error.message}") from error


@contextmanager
def _worker_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in EXTRA:
            raise
        raise CannotDo(
            f"this needs {error.name}, which is not installed: pip install 'warmroute[worker]'"
        ) from error


def _from_file(source: Source, file: Path, scratch: Path) -> Packed:
    kind = format_of(file)
    if source.format and kind != PT2:
        raise WrongUse(f"--format goes with a .pt2 only, {file} is a {kind}")
    inputs = [read_said(text) for text in source.inputs]
    outputs = [read_said(text) for text in source.outputs]
    if kind == ONNX:
        from worker.packaging.onnx import pack_onnx  # needs no torch

        return pack_onnx(file, _by_name(inputs), _by_name(outputs))
    from worker.packaging import packers

    if kind == TORCHSCRIPT:
        specs = _specs("--input", source.inputs), _specs("--output", source.outputs)
        return packers.pack_torchscript(file, *specs)
    if source.format == "whole":
        return packers.pack_whole_pt2(file, input_names=inputs, output_names=outputs)
    return packers.pack_pt2(file, scratch, input_names=inputs, output_names=outputs)


def _by_name(said: Sequence[Said]) -> dict[str, TensorSpec | None]:
    given: dict[str, TensorSpec | None] = {}
    for one in said:
        if name_of(one) in given:
            raise WrongUse(f"{name_of(one)!r} is given twice")
        given[name_of(one)] = None if isinstance(one, str) else one
    return given


def _from_module(source: Source, factory: str, scratch: Path) -> Packed:
    from worker.packaging import packers

    specs = _specs("--input", source.inputs)
    if not specs:
        raise WrongUse("--module: give an --input for each argument of forward()")
    outputs = [read_said(text) for text in source.outputs]
    examples = packers.example_inputs(specs, read_example(source.example))
    state = None if source.weights is None else packers.read_weights(source.weights)
    module = make_module(factory)
    given = packers.arguments(module, specs, examples)
    return packers.pack_module(
        module, state, given.args, given.dynamic_shapes, specs, outputs, scratch, given.kwargs
    )


def _from_architecture(source: Source, name: str, scratch: Path) -> Packed:
    if source.weights is None:
        raise WrongUse("--architecture needs --weights")
    from worker.packaging import packers
    from worker.packaging.program_manifest import match_packed

    sizes = dict(_size(text) for text in source.sizes)
    weights = packers.read_weights(source.weights)
    packed = packers.pack_architecture(name, sizes, weights, scratch)
    inputs = [read_said(text) for text in source.inputs]
    return match_packed(packed, inputs, [read_said(text) for text in source.outputs])


def _specs(option: str, texts: Sequence[str]) -> list[TensorSpec]:
    if bare := [text for text in texts if ":" not in text]:
        raise WrongUse(f"{option} {bare[0]!r}: its datatype and shape are needed too")
    return [read_spec(text) for text in texts]


def _size(text: str) -> tuple[str, int | float | str]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise WrongUse(f"--size {text!r}: want NAME=VALUE")
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value
