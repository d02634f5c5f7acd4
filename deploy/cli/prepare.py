"""Turns a file, a module or weights into the files and tensor specs of a version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.cli.errors import CannotDo, WrongUse
from deploy.cli.example import read_example
from deploy.cli.factory import make_module
from deploy.cli.model_files import check_content, check_weights, platform_of
from deploy.cli.specs import read_said, read_spec
from shared.errors import InvalidInput, WarmrouteError
from shared.manifest import TensorSpec
from shared.platforms import resolve
from worker.packaging.result import Packed

EXTRA = ("torch", "safetensors", "onnx", "onnxruntime", "google")  # packages of the extra `worker`


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
    """Pack `source`; new files are written below `scratch`. WrongUse or an error of the tree if it
    cannot be served: what a worker would refuse is refused here."""
    given = [source.file, source.module, source.architecture]
    if sum(one is not None for one in given) != 1:
        raise WrongUse("give one of --file, --module and --architecture")
    _refuse_unused(source)
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


def _refuse_unused(source: Source) -> None:
    """Refuse an option that would have no effect: the caller expects one."""
    for option, given, fits, belongs in (
        ("--format", source.format, source.file, "--file of a .pt2"),
        ("--weights", source.weights, source.file is None, "--module or --architecture"),
        ("--size", source.sizes, source.architecture, "--architecture"),
    ):
        if given and not fits:
            raise WrongUse(f"{option} goes with {belongs} only")


@contextmanager
def _naming(what: Path | str | None) -> Iterator[None]:
    """Put the name of what is pushed in front of each error."""
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
    platform = platform_of(file, source.format)
    inputs = [read_said(text) for text in source.inputs]
    outputs = [read_said(text) for text in source.outputs]
    packed: Packed = resolve(platform.packer)(file, scratch, inputs, outputs)
    return packed


def _from_module(source: Source, factory: str, scratch: Path) -> Packed:
    from worker.packaging.example import arguments, example_inputs
    from worker.packaging.module import pack_module
    from worker.packaging.weight_files import read_weights

    specs = _specs("--input", source.inputs)
    if not specs:
        raise WrongUse("--module: give an --input for each argument of forward()")
    outputs = [read_said(text) for text in source.outputs]
    examples = example_inputs(specs, read_example(source.example))
    state = None if source.weights is None else read_weights(source.weights)
    module = make_module(factory)
    given = arguments(module, specs, examples)
    return pack_module(
        module, state, given.args, given.dynamic_shapes, specs, outputs, scratch, given.kwargs
    )


def _from_architecture(source: Source, name: str, scratch: Path) -> Packed:
    if source.weights is None:
        raise WrongUse("--architecture needs --weights")
    from worker.packaging.architecture import pack_architecture
    from worker.packaging.program_manifest import match_packed
    from worker.packaging.weight_files import read_weights

    sizes = dict(_size(text) for text in source.sizes)
    weights = read_weights(source.weights)
    packed = pack_architecture(name, sizes, weights, scratch)
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
