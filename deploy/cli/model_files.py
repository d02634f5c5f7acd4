"""Which format a file to push has: by what is in it, since one ending names several formats."""

from __future__ import annotations

import zipfile
from pathlib import Path

from deploy.cli.errors import WrongUse
from worker.packaging import file_stubs

PT2, TORCHSCRIPT, ONNX = ".pt2", ".pt", ".onnx"
SCRIPTS = (".pt", ".pth", ".ts", ".jit", ".torchscript")
ENDINGS = {".pt2": PT2, ".onnx": ONNX, **dict.fromkeys(SCRIPTS, TORCHSCRIPT)}
WANT = f"want .pt2, {', '.join(SCRIPTS)} (TorchScript) or .onnx"
INDEX = ".index.json"


def format_of(file: Path) -> str:
    """PT2, TORCHSCRIPT or ONNX; WrongUse, with the way out, if it is none of them."""
    if file.is_dir():
        raise WrongUse(f"{file}: {_folder(file)}")
    if file.suffix == ".safetensors" and file.is_file():
        raise WrongUse(
            f"{file}: weights without a program: --weights, with --module or --architecture"
        )
    found = _in_archive(file) or ENDINGS.get(file.suffix.lower())
    check_content(file, found or "")
    if found is None:
        raise WrongUse(f"{file}: {WANT}")
    return found


def check_content(path: Path, wanted: str) -> None:
    """WrongUse, saying what it is, if the first bytes are not those of a file of format `wanted`
    (.pt2, .pt, .onnx, .safetensors, .npz; '' for any)."""
    if why := file_stubs.explain(path, wanted):
        raise WrongUse(f"{path}: it is {why}")


def check_weights(path: Path) -> None:
    """The same of --weights, which may be a folder or the index of several files, too."""
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
        "a folder of save_pretrained, which holds weights and no program: --module "
        f"PACKAGE.MODULE:FACTORY (a function that returns the model) and --weights {folder}"
    )
