"""From what the user has (a file, a module, weights) to the files and specs of a version."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.cli.errors import CannotDo, WrongUse
from deploy.cli.example import read_example
from deploy.cli.specs import name_of, read_spec
from shared.errors import WarmrouteError
from shared.manifest import TensorSpec
from worker.runtimes import file_stubs
from worker.runtimes.pack_result import Packed

SCRIPTS = (".pt", ".pth", ".torchscript", ".ts", ".jit")
EXTRA = ("torch", "safetensors", "onnx", "onnxruntime", "google")  # of the extra `worker`


@dataclass(frozen=True)
class Source:
    """What the command line names. `inputs` and `outputs` are specs as written there."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    file: Path | None = None
    whole: bool = False
    module: str | None = None
    architecture: str | None = None
    sizes: Sequence[str] = ()
    weights: Path | None = None
    example: Path | None = None


def prepare(source: Source, scratch: Path) -> Packed:
    """Pack `source`, new files below `scratch`. WrongUse or an error of the tree if it cannot be
    served; whatever a worker would refuse is refused here."""
    given = [source.file, source.module, source.architecture]
    if sum(one is not None for one in given) != 1:
        raise WrongUse("give one of --file, --module and --architecture")
    _refuse_strange_options(source)
    _look(source)
    with _worker_extra():
        if source.module is not None:
            return _from_module(source, source.module, scratch)
        if source.architecture is not None:
            return _from_architecture(source, source.architecture, scratch)
        assert source.file is not None
        with _naming(source.file):
            return _from_file(source, source.file, scratch)


def _refuse_strange_options(source: Source) -> None:
    """What a format does not take would be dropped without a word."""
    strange: dict[str, object]
    if source.file is not None:
        what, strange = "--file", {"--weights": source.weights, "--size": source.sizes}
        if source.file.suffix != ".pt2":
            what, strange["--format whole"] = f"a {source.file.suffix}", source.whole
    elif source.module is not None:
        what, strange = "--module", {"--size": source.sizes, "--format whole": source.whole}
    else:
        what = "--architecture"
        strange = {"--input": source.inputs, "--output": source.outputs,
                   "--format whole": source.whole}  # fmt: skip
    for option, value in strange.items():
        if value:
            raise WrongUse(f"{option} does not belong to {what}")


def _look(source: Source) -> None:
    """Refuse files that are not what they should be, whatever would open them."""
    named = [(source.weights, ".safetensors"), (source.example, ".npz")]
    if source.file is not None:
        suffix = source.file.suffix
        named.append((source.file, ".pt" if suffix in SCRIPTS else suffix))
    for path, wanted in named:
        if path is not None and (why := file_stubs.explain(path, wanted)):
            raise WrongUse(f"{path}: it is {why}")


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Errors about a file's content say which file."""
    try:
        yield
    except WarmrouteError as error:
        if file.name in error.message:
            raise
        raise type(error)(f"{file}: {error.message}") from error


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
    if file.suffix == ".onnx":
        from worker.runtimes.pack_onnx import pack_onnx  # needs no torch

        return pack_onnx(file, _given(source.inputs), _given(source.outputs))
    from worker.runtimes import packaging

    names: dict[str, Any] = {
        "input_names": [name_of(text) for text in source.inputs] or None,
        "output_names": [name_of(text) for text in source.outputs] or None,
    }
    if file.suffix == ".pt2" and source.whole:
        return packaging.pack_whole_pt2(file, **names)
    if file.suffix == ".pt2":
        return packaging.pack_pt2(file, scratch, **names)
    if file.suffix in SCRIPTS:
        inputs, outputs = _specs("--input", source.inputs), _specs("--output", source.outputs)
        return packaging.pack_torchscript(file, inputs, outputs)
    raise WrongUse(f"{file}: want .pt2, {', '.join(SCRIPTS)} (TorchScript) or .onnx")


def _given(texts: Sequence[str]) -> dict[str, TensorSpec | None]:
    """Names and what is said of them. One colon is part of a name, as in `serving_default:0`."""
    given: dict[str, TensorSpec | None] = {}
    for text in texts:
        spec = read_spec(text) if text.count(":") > 1 else None
        name = spec.name if spec else text
        if name in given:
            raise WrongUse(f"{name!r} is given twice")
        given[name] = spec
    return given


def _from_module(source: Source, factory: str, scratch: Path) -> Packed:
    from worker.runtimes import packaging
    from worker.runtimes.pack_example import example_inputs, read_weights, varying_sizes

    specs = _specs("--input", source.inputs)
    examples = example_inputs(specs, read_example(source.example))
    state = None if source.weights is None else read_weights(source.weights)
    module = _load_factory(factory)()
    try:
        packed = packaging.pack_module(
            module,
            state,
            examples,
            varying_sizes(specs),
            [spec.name for spec in specs],
            [name_of(text) for text in source.outputs] or None,
            scratch,
        )
    except RuntimeError as error:  # load_state_dict, for keys or shapes that do not fit
        raise WrongUse(f"{source.weights}: {error}") from error
    _refuse_fixed(specs, packed.inputs)
    return packed


def _from_architecture(source: Source, name: str, scratch: Path) -> Packed:
    if source.weights is None:
        raise WrongUse("--architecture needs --weights")
    from worker.runtimes import packaging
    from worker.runtimes.pack_example import read_weights

    sizes = dict(_size(text) for text in source.sizes)
    return packaging.pack_architecture(name, sizes, read_weights(source.weights), scratch)


def _specs(option: str, texts: Sequence[str]) -> list[TensorSpec]:
    if not texts:
        raise WrongUse(f"this format does not say what it takes and gives: {option} is needed")
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


def _load_factory(name: str) -> Callable[[], Any]:
    """`package.module:factory`, found from the current folder as `python -m` would."""
    module, _, attribute = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        factory: Callable[[], Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise WrongUse(f"--module {name!r}: {error}; want PACKAGE.MODULE:FACTORY") from error
    return factory


def _refuse_fixed(wanted: Sequence[TensorSpec], got: Sequence[TensorSpec]) -> None:
    """The export may find that a size cannot vary; then the user must know, not the callers."""
    for want, have in zip(wanted, got, strict=True):
        if want.shape != have.shape:
            raise WrongUse(
                f"input {want.name!r}: you say {want.shape}, the module allows {have.shape}"
            )
