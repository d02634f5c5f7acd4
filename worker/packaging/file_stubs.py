"""Files that are not the model that their name promises: recognised by their first bytes.

One table for all formats, used before a file is opened as what it should be: a loader would report
that its first byte is wrong, and not what the file is.
"""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HEAD = 512
MOST_HEADER = 100 << 20  # the format's own limit
_ENDS = re.compile(rb'"data_offsets":\s*\[\s*\d+\s*,\s*(\d{1,18})\s*\]')
_POINTER = "a Git LFS pointer, not the file itself: fetch it with `git lfs pull`"
_PICKLE = "a pickle, which is never loaded: "
_SAVED = _PICKLE + "export the model with torch.export, or save its weights as safetensors"
_CUT = "a zip archive that is cut off or damaged: download or copy it again"
_PAGE = "a web page, such as an error or a login: download the file itself"


class Form(NamedTuple):
    """A kind of file, recognised by its first bytes."""

    matches: Callable[[bytes], bool]
    what: str


def _starts(*heads: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(heads)


def _text_starts(*heads: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(heads)


# Never a model, nor a file with a model's weights.
STUBS = (
    Form(lambda head: not head, "empty"),
    Form(_starts(b"version https://git-lfs"), _POINTER),
    Form(_text_starts(b"<!doctype html", b"<html", b"<head", b"<body"), _PAGE),
    Form(_text_starts(b"<?xml", b"<error"), "an XML text, such as a store's error"),
)
# Not the requested format; raw weights may begin with any of these.
OTHERS = (
    Form(_starts(b"\x1f\x8b"), "a gzip archive: unpack it first"),
    Form(_starts(b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"), "a compressed file: unpack it first"),
    Form(lambda head: head[257:262] == b"ustar", "a tar archive: unpack it first"),
    Form(_starts(b"\x89HDF\r\n"), "an HDF5 file (Keras): convert the model to ONNX"),
    Form(_starts(b"\x93NUMPY"), "a single numpy array (.npy)"),
    Form(_starts(b"GGUF"), "a GGUF file, which is not supported"),
    Form(lambda head: head[4:8] == b"TFL3", "a TensorFlow Lite file: convert the model to ONNX"),
    Form(lambda head: head[4:8] == b"ORTM", "a file in onnxruntime's own format: give the .onnx"),
    Form(lambda head: head[6:9] == b"\0\0{", "a safetensors file: give it "
         "as --weights, with --module or --architecture"),
    Form(_starts(*(b"\x80" + bytes([p]) for p in range(2, 6))), _SAVED),
    Form(_text_starts(b"{", b"["), "a JSON text"),
    Form(_text_starts(b"<"), "an ONNX model as text, or a web page: save it in binary form"),
)  # fmt: skip


def stub_of(path: Path) -> str:
    """What `path` is if it cannot be a model file ('empty', 'a Git LFS pointer ...'), else ''."""
    return _first(STUBS, _head(path))


def explain(path: Path, expected: str) -> str:
    """Why `path` cannot be a file of the format `expected`: a suffix as in .pt2, .pt, .onnx,
    .safetensors or .npz. '' if its first bytes do not say so."""
    if problem := _unreadable(path):
        return problem
    head = _head(path)
    if stub := _first(STUBS, head):
        return stub
    if head.startswith(b"PK"):
        return _of_zip(path, expected)
    if expected == ".safetensors" and head[6:9] == b"\0\0{":
        return _of_safetensors(path, int.from_bytes(head[:8], "little"))
    if expected != ".onnx" and _is_onnx(head):
        return f"an ONNX file: call it {path.stem}.onnx, or give the other file"
    nothing = f"not a {expected} archive, and no other format that is supported"
    return _first(OTHERS, head) or (nothing if expected in ZIPS else "")


def _is_onnx(head: bytes) -> bool:
    """Its IR version comes first, then a graph, or the name or version of what wrote it."""
    return head[:1] == b"\x08" and head[1:2] < b"\x20" and head[2:3] in b"\x12\x1a\x22\x3a\x42"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _first(forms: tuple[Form, ...], head: bytes) -> str:
    return next((form.what for form in forms if form.matches(head)), "")


def _unreadable(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "a folder: give the file of the model in it"
        if not stat.S_ISREG(mode):
            return "not a regular file"
        _head(path)
    except FileNotFoundError:
        return "a link to nothing" if path.is_symlink() else "not there: no such file"
    except OSError as error:
        return f"not readable: {error.strerror}"
    except ValueError:
        return "not there: no such file"  # a name with a zero byte
    return ""


def _of_safetensors(path: Path, header: int) -> str:
    """The end of each tensor, in bytes after the header, is in the header."""
    held, text = path.stat().st_size, b""
    if 8 + header <= held and header < MOST_HEADER:
        with path.open("rb") as file:
            text = file.read(8 + header)[8:]
    ends = [int(end) for end in _ENDS.findall(text)]
    if held < 8 + header + max(ends, default=0):
        return "a safetensors file that is cut off: download or copy it again"
    return ""


# The suffixes of archives; the names in one are below one folder.
ZIPS = (".pt2", ".pt", ".npz")


def _of_zip(path: Path, expected: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
        return _CUT
    # The table found may be that of an archive inside this one, whose own end is gone.
    if members and min(member.header_offset for member in members) > 0:
        return _CUT
    names = [member.filename for member in members]
    found, what = _kind_of_archive(names)
    if found == expected:
        return ""
    return what if not found else f"{what}: call it {path.stem}{found}, or give the other file"


def _kind_of_archive(names: list[str]) -> tuple[str, str]:
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return ".pt", "a TorchScript archive"
    if any(name.startswith("models/") and name.endswith(".json") for name in inner | set(names)):
        return ".pt2", "a torch.export archive"
    if "serialized_exported_program.json" in {*names, *inner}:
        return "", "a torch.export archive of an older torch: export the model again"
    if "data.pkl" in inner or "data.pkl" in names:
        return "", "a torch.save file, not TorchScript or torch.export: it is " + _SAVED
    if all(name.endswith(".npy") for name in names):  # also of none
        return ".npz", "an .npz file of arrays"
    return "", "a zip archive, but not in a format that is supported: unpack it first"
