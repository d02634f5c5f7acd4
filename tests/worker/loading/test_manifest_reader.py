"""What was accepted is what runs: the manifest that the reference's digest stands for (I21)."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared import manifest as manifests
from shared.errors import ChangedMeanwhile, StoreUnavailable
from shared.manifest import Batching, Manifest
from shared.names import ModelRef
from tests.helpers.factories import manifest
from tests.helpers.repository import FakeRepository
from worker.loading.manifest_reader import ManifestReader


def published(repository: FakeRepository, model: Manifest | None = None) -> ModelRef:
    """A reference to what the repository holds now."""
    model = model or manifest()
    return manifests.ref_of(model, repository.add(model))


async def test_it_is_read_once(tmp_path: Path) -> None:
    """By one process."""
    repository = FakeRepository()
    ref, reader = published(repository), ManifestReader(repository, tmp_path)
    assert await reader.read(ref) == await reader.read(ref) == manifest()
    assert repository.calls["read_manifest"] == 1


async def test_what_was_published_again_is_not_taken_for_what_was_accepted(tmp_path: Path) -> None:
    """The request says which bytes it means (I21)."""
    repository = FakeRepository()
    ref = published(repository)
    published(repository, manifest(batching=Batching(max_size=8)))
    with pytest.raises(ChangedMeanwhile):
        await ManifestReader(repository, tmp_path).read(ref)


async def test_another_process_has_it_while_the_store_is_away(tmp_path: Path) -> None:
    """From the disk, where the blobs are as well."""
    repository = FakeRepository()
    ref = published(repository)
    await ManifestReader(repository, tmp_path).read(ref)
    repository.error = StoreUnavailable("the store does not answer")
    assert await ManifestReader(repository, tmp_path).read(ref) == manifest()


async def test_a_damaged_file_is_read_anew(tmp_path: Path) -> None:
    """Its digest is compared each time."""
    repository = FakeRepository()
    ref = published(repository)
    (tmp_path / ref.digest).write_bytes(b"{}")
    assert await ManifestReader(repository, tmp_path).read(ref) == manifest()
    assert manifests.digest_of((tmp_path / ref.digest).read_bytes()) == ref.digest


async def test_a_disk_that_takes_nothing_is_no_reason_to_fail(tmp_path: Path) -> None:
    """It is asked for again the next time."""
    (tmp_path / "file").write_text("")
    repository = FakeRepository()
    ref = published(repository)
    assert await ManifestReader(repository, tmp_path / "file" / "x").read(ref) == manifest()
