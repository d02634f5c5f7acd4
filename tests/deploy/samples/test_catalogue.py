"""The list of samples, and publishing them."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from deploy.samples import catalogue
from deploy.samples.store import BuiltSample
from shared.errors import NotFound
from shared.manifest import FileEntry, parse
from shared.platforms import PLATFORMS
from shared.repository import open_repository

NEEDED = ("magika", "tiny-mlp", "minilm", "minilm-01")


def test_the_catalogue_has_eight_models_twenty_variants_and_all_formats() -> None:
    """What the first command shows: eight real models in every platform that workers can run."""
    assert len(catalogue.DEFAULT_SET) == 8
    assert len(catalogue.VARIANTS) == 20
    assert {sample.platform for sample in catalogue.DEFAULT_SET} == set(PLATFORMS)
    names = [sample.name for sample in catalogue.SAMPLES]
    assert len(set(names)) == len(names)


def test_every_model_has_a_licence_and_a_row_in_the_table() -> None:
    """The README's table is made of these rows."""
    rows = catalogue.licences()
    assert {name for _, name, _ in rows} >= {sample.name for sample in catalogue.DEFAULT_SET}
    assert all(licence for _, _, licence in rows)
    assert all(sample.licence for sample in catalogue.DEFAULT_SET + catalogue.VARIANTS)


def test_an_unknown_sample_is_refused_with_the_list() -> None:
    """The message says which there are."""
    with pytest.raises(NotFound, match="minilm"):
        catalogue.find("gpt-9")


def test_samples_are_published_once_and_share_their_bytes(
    built: dict[str, BuiltSample], tmp_path: Path
) -> None:
    """The first run sends each blob once, variants only what is their own; the second nothing."""
    repository = open_repository(f"file://{tmp_path}")
    wanted = [built[name] for name in NEEDED]
    steps: list[tuple[str, int, int]] = []
    first = {
        each.sample.name: each
        for each in catalogue.publish_all(repository, wanted, lambda *step: steps.append(step))
    }
    assert first["minilm"].bytes_sent > 85_000_000
    assert first["minilm-01"].bytes_sent < 0.5 * built["minilm-01"].total_bytes
    total = sum(sample.total_bytes for sample in wanted)
    assert steps[-1] == ("", total, total)
    assert [done for _, done, _ in steps] == sorted(done for _, done, _ in steps)
    again = catalogue.publish_all(repository, wanted)
    assert [(each.version, each.bytes_sent) for each in again] == [(1, 0)] * len(NEEDED)


def test_the_published_manifest_is_the_samples_own(
    built: dict[str, BuiltSample], tmp_path: Path
) -> None:
    """Byte for byte, so that a second run can tell by reading it alone."""
    repository = open_repository(f"file://{tmp_path}")
    catalogue.publish_all(repository, [built["magika"]])
    raw = repository.read_manifest("magika", 1)
    assert parse(raw, name="magika", version=1) == built["magika"].manifest(1)


def test_a_sample_with_other_bytes_becomes_the_next_version(
    built: dict[str, BuiltSample], tmp_path: Path
) -> None:
    """A published version never changes."""
    (folder := tmp_path / "repository").mkdir()
    repository = open_repository(f"file://{folder}")
    catalogue.publish_all(repository, [built["magika"]])
    other = _with_one_more_byte(built["magika"], tmp_path / "samples")
    [published] = catalogue.publish_all(repository, [other])
    assert published.version == 2
    assert repository.list_versions("magika") == [1, 2]
    [back] = catalogue.publish_all(repository, [other])
    assert (back.version, back.bytes_sent) == (2, 0)


def _with_one_more_byte(sample: BuiltSample, samples: Path) -> BuiltSample:
    """The sample as another build might have made it."""
    shutil.copytree(sample.folder, samples / sample.name)
    path = samples / sample.name / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    files = [
        FileEntry("model.onnx", hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
    ]
    stamp = msgspec.structs.replace(sample.stamp, files=files)
    return replace(sample, folder=samples / sample.name, stamp=stamp)
