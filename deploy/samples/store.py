"""Made samples on disk: one folder each, with its sample request and the reference's answer.

A sample is made again only when its recipe (this code, torch's version) changed or a file of it
is gone, so a second run makes nothing and does not import torch.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from deploy.samples.sample import Known, Made, Sample, Tensors, Workplace
from deploy.samples.wheels import WheelFolder
from shared.manifest import FileEntry, Manifest, Parameter

STAMP = "made.json"
REQUEST = "request.npz"
ANSWER = "answer.npz"
_ROOT = Path(__file__).resolve().parents[2]
# What decides the bytes of a sample. Not all of the workers' runtimes: they change more often.
RECIPE_CODE = (
    "deploy/samples/**/*.py",
    "worker/runtimes/architectures/*.py",
    "worker/packaging/*.py",
    "worker/runtimes/canonical.py",
)
_RECIPE_PACKAGES = ("torch", "safetensors", "numpy")


class Stamp(msgspec.Struct, frozen=True):
    """Written last. `paths`: where each file lies below the samples' folder."""

    recipe: str
    files: list[FileEntry]
    paths: dict[str, str]
    parameters: dict[str, Parameter]
    words: dict[str, list[str]]


@dataclass(frozen=True)
class BuiltSample:
    """A sample whose files lie on this disk, ready to publish, ask and check without torch."""

    sample: Sample
    folder: Path
    stamp: Stamp

    @property
    def name(self) -> str:
        return self.sample.name

    @property
    def files(self) -> dict[str, Path]:
        return {name: self.folder.parent / path for name, path in self.stamp.paths.items()}

    @property
    def total_bytes(self) -> int:
        return sum(entry.size for entry in self.stamp.files)

    def manifest(self, version: int = 1) -> Manifest:
        """What is published, and all of it: the files were hashed when they were made."""
        sample = self.sample
        return Manifest(
            name=sample.name,
            version=version,
            platform=sample.platform,
            inputs=sample.inputs,
            outputs=sample.outputs,
            files=self.stamp.files,
            batching=sample.batching,
            warmup=sample.warmup,
            parameters=dict(self.stamp.parameters),
            licence=sample.licence,
        )

    def sample_request(self) -> Tensors:
        """A real input, whose answer a person can check."""
        return _read(self.folder / REQUEST)

    def known(self) -> Known:
        """The words and the reference's answer, for `say` and `right`."""
        return Known(self.stamp.words, _read(self.folder / ANSWER))

    def say(self, outputs: Tensors) -> str:
        """The answer in words, such as "440.4 Hz -> A4"."""
        return self.sample.say(outputs, self.known())

    def right(self, outputs: Tensors) -> bool:
        """Whether the answer is the right one."""
        return self.sample.right(outputs, self.known())


def find(sample: Sample, samples: Path) -> BuiltSample | None:
    """The made sample, or None if it is not there whole or was made by another recipe."""
    folder = samples / sample.name
    try:
        stamp = msgspec.json.decode((folder / STAMP).read_bytes(), type=Stamp)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    whole = all(_has_size(samples / stamp.paths[file.name], file.size) for file in stamp.files)
    if not whole or stamp.recipe != recipe():
        return None
    return BuiltSample(sample, folder, stamp)


def make(sample: Sample, samples: Path, wheels: WheelFolder) -> BuiltSample:
    """Make `sample` below `samples`. It appears whole or not at all, also beside another run."""
    samples.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{sample.name}-", dir=samples))
    try:
        made = sample.make(Workplace(wheels, scratch, samples))
        request = sample.request(wheels)
        answer = sample.reference(wheels, made.files)(request)
        np.savez(scratch / REQUEST, allow_pickle=False, **request)
        np.savez(scratch / ANSWER, allow_pickle=False, **answer)
        stamp = _stamp(sample, made, scratch, samples)
        (scratch / STAMP).write_bytes(msgspec.json.format(msgspec.json.encode(stamp), indent=1))
        _replace(scratch, samples / sample.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return BuiltSample(sample, samples / sample.name, stamp)


def recipe() -> str:
    """A digest of all that decides the bytes of a made sample."""
    digest = hashlib.sha256()
    for package in _RECIPE_PACKAGES:
        digest.update(f"{package} {importlib.metadata.version(package)}\n".encode())
    for pattern in RECIPE_CODE:
        for source in sorted(_ROOT.glob(pattern)):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _stamp(sample: Sample, made: Made, scratch: Path, samples: Path) -> Stamp:
    def place(path: Path) -> str:
        if path.is_relative_to(scratch):
            return str(Path(sample.name) / path.relative_to(scratch))
        return str(path.relative_to(samples))

    files = [
        FileEntry(name, _sha256(path), path.stat().st_size)
        for name, path in sorted(made.files.items())
    ]
    paths = {name: place(path) for name, path in made.files.items()}
    words = {name: list(values) for name, values in made.words.items()}
    return Stamp(recipe(), files, paths, dict(made.parameters), words)


def _replace(scratch: Path, folder: Path) -> None:
    scratch.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        scratch.rename(folder)
    except OSError:
        # A run beside this one put the same sample there first.
        if not (folder / STAMP).exists():
            raise


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _read(path: Path) -> Tensors:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
