"""What a user pushes: a file, whose contents decide its format, or a factory of a module."""

from __future__ import annotations

import importlib
import sys
import zipfile
from pathlib import Path
from typing import Any

from deploy.cli.errors import WrongUse
from worker.packaging import file_stubs

PT2, TORCHSCRIPT, ONNX = ".pt2", ".pt", ".onnx"
SCRIPTS = (".pt", ".pth", ".ts", ".jit", ".torchscript")
ENDINGS = {".pt2": PT2, ".onnx": ONNX, **dict.fromkeys(SCRIPTS, TORCHSCRIPT)}
WANT = f"want .pt2, {', '.join(SCRIPTS)} (TorchScript) or .onnx"
INDEX = ".index.json"
WANT_FACTORY = "want PACKAGE.MODULE:FACTORY"


def format_of(file: Path) -> str:
    """PT2, TORCHSCRIPT or ONNX; WrongUse, with advice, if it is another format."""
    if file.is_dir():
        raise WrongUse(f"{file}: {_folder(file)}")
    if file.suffix == ".safetensors" and file.is_file():
        raise WrongUse(
            f"{file}: weights without a program: give --weights, with --module or --architecture"
        )
    found = _in_archive(file) or ENDINGS.get(file.suffix.lower())
    check_content(file, found or "")
    if found is None:
        raise WrongUse(f"{file}: {WANT}")
    return found


def check_content(path: Path, expected: str) -> None:
    """WrongUse, saying what it is, if the first bytes are not those of format `expected`
    (.pt2, .pt, .onnx, .safetensors, .npz; '' for any)."""
    if why := file_stubs.explain(path, expected):
        raise WrongUse(f"{path}: it is {why}")


def check_weights(path: Path) -> None:
    """As `check_content`, for --weights: a file, a folder, or the index of several files."""
    if not path.is_dir() and not path.name.endswith(INDEX):
        check_content(path, ".safetensors")


def _in_archive(file: Path) -> str | None:
    """The format of a zip archive that torch wrote, by its members."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
        return None
    if "constants.pkl" in names:
        return TORCHSCRIPT
    return PT2 if any(name.startswith("models/") for name in names) else None


def _folder(folder: Path) -> str:
    if not (folder / "config.json").is_file():
        return f"a folder, {WANT}"
    return (
        "a folder of save_pretrained, which has weights but no program: give --module "
        f"PACKAGE.MODULE:FACTORY (a function that returns the model) and --weights {folder}"
    )


def make_module(name: str) -> Any:
    """The result of the factory; WrongUse quotes the error of the user's code."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise WrongUse(f"--module {name!r}: {WANT_FACTORY}")
    factory = _attribute(_import(module), attribute, f"--module {name!r}")
    if not callable(factory):
        kind = type(factory).__name__
        raise WrongUse(
            f"--module {name!r}: it is a {kind}, want a function that returns the module"
        )
    try:
        return factory()
    except Exception as error:  # the user's code may raise anything
        raise WrongUse(f"--module {name!r}: {attribute}() raised {_first_line(error)}") from error


def _import(module: str) -> Any:
    """Found from the current folder, as `python -m` would."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module + ".").startswith(error.name + "."):
            raise WrongUse(
                f"--module {module!r}: no module named {error.name!r}; {WANT_FACTORY}"
            ) from error
        raise WrongUse(f"--module {module!r}: importing it raised {_first_line(error)}") from error
    except Exception as error:  # the user's code may raise anything
        raise WrongUse(f"--module {module!r}: importing it raised {_first_line(error)}") from error


def _attribute(module: Any, attribute: str, what: str) -> Any:
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise WrongUse(f"{what}: {module.__name__} has no {attribute!r}; {WANT_FACTORY}")
        found = getattr(found, part)
    return found


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
