"""What a user pushes: a file, whose content decides its platform, or a factory of a module."""

from __future__ import annotations

import importlib
import sys
import zipfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from deploy.cli.errors import WrongUse
from shared.platforms import PLATFORMS, Platform
from worker.packaging import file_stubs

SUFFIXES = tuple(dict.fromkeys(suffix for row in PLATFORMS.values() for suffix in row.suffixes))
WANT = f"want one of {', '.join(SUFFIXES)}"
INDEX = ".index.json"
WANT_FACTORY = "want PACKAGE.MODULE:FACTORY"


def add_options(parser: ArgumentParser) -> None:
    """Declare the options that name the model and describe its tensors."""
    parser.add_argument("--file", type=Path, help="model.pt2, model.onnx or TorchScript (model.pt)")
    parser.add_argument(
        "--format",
        choices=["program", "whole"],
        help="store a .pt2 as shared program and weights (default), or as one file",
    )
    parser.add_argument(
        "--module", metavar="PACKAGE.MODULE:FACTORY", help="function that returns the module"
    )
    parser.add_argument("--architecture", metavar="NAME", help="an architecture that workers know")
    parser.add_argument(
        "--size",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a size of the architecture",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE.safetensors",
        help="weights of --module or --architecture: a file, an .index.json, or a folder",
    )
    parser.add_argument(
        "--example", type=Path, metavar="FILE.npz", help="real inputs by name, used as warm-up"
    )
    parser.add_argument(
        "--input", action="append", default=[], metavar="SPEC", help="once per input"
    )
    parser.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="SPEC",
        help="once per output; in order if the model's outputs have no names",
    )


def platform_of(file: Path, form: str | None) -> Platform:
    """The platform as which `file` is packed. `form`: program or whole, which only a .pt2 has.
    WrongUse, with what to do instead, if the file is not a model."""
    suffix = suffix_of(file)
    rows = [row for row in PLATFORMS.values() if suffix in row.suffixes]
    if form and len(rows) == 1:
        raise WrongUse(f"--format goes with a .pt2 only, {file} is a {suffix}")
    return next(row for row in rows if row.whole == (form == "whole"))


def suffix_of(file: Path) -> str:
    """The suffix that stands for the file's format (.pt2, .pt, .onnx), by its content or its name;
    WrongUse, with what to do instead, if it is not a model file."""
    if file.is_dir():
        raise WrongUse(f"{file}: {_folder(file)}")
    if file.suffix == ".safetensors" and file.is_file():
        raise WrongUse(
            f"{file}: a file of weights, without a program: give it as --weights, with --module or "
            "--architecture"
        )
    found = _in_archive(file) or _by_name(file)
    check_content(file, found or "")
    if found is None:
        raise WrongUse(f"{file}: {WANT}")
    return found


def check_content(path: Path, expected: str) -> None:
    """WrongUse, naming what it is, if the first bytes are not those of a file of format `expected`
    (.pt2, .pt, .onnx, .safetensors, .npz; '' for any)."""
    if why := file_stubs.explain(path, expected):
        raise WrongUse(f"{path}: it is {why}")


def check_weights(path: Path) -> None:
    """`check_content` for --weights, which may also be a folder or the index of several files."""
    if not path.is_dir() and not path.name.endswith(INDEX):
        check_content(path, ".safetensors")


def _by_name(file: Path) -> str | None:
    for row in PLATFORMS.values():
        if file.suffix.lower() in row.suffixes:
            return row.suffixes[0]
    return None


def _in_archive(file: Path) -> str | None:
    """The suffix for a zip archive that torch wrote, by its members; None for any other file."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
        return None
    if "constants.pkl" in names:
        return ".pt"
    return ".pt2" if any(name.startswith("models/") for name in names) else None


def _folder(folder: Path) -> str:
    if not (folder / "config.json").is_file():
        return f"a folder, {WANT}"
    return (
        "a folder of save_pretrained, which holds weights but not the program: give --module "
        f"PACKAGE.MODULE:FACTORY (a function that returns the model) and --weights {folder}"
    )


def make_module(name: str) -> Any:
    """What the factory returns; WrongUse with the error of the user's code if that fails."""
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
        raise WrongUse(f"--module {name!r}: {attribute}() raised {_summary(error)}") from error


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
        raise WrongUse(f"--module {module!r}: importing it raised {_summary(error)}") from error
    except Exception as error:  # the user's code may raise anything
        raise WrongUse(f"--module {module!r}: importing it raised {_summary(error)}") from error


def _attribute(module: Any, attribute: str, what: str) -> Any:
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise WrongUse(f"{what}: {module.__name__} has no {attribute!r}; {WANT_FACTORY}")
        found = getattr(found, part)
    return found


def _summary(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
