"""The platform of a file to push: recognised by its content, since formats share suffixes."""

from __future__ import annotations

import zipfile
from pathlib import Path

from deploy.cli.errors import WrongUse
from shared.platforms import PLATFORMS, Platform
from worker.packaging import file_stubs

SUFFIXES = tuple(dict.fromkeys(suffix for row in PLATFORMS.values() for suffix in row.suffixes))
WANT = f"want one of {', '.join(SUFFIXES)}"
INDEX = ".index.json"


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
