"""What holds for every kind of repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import BlobMissing, Conflict, Corrupt, InvalidInput
from shared.names import MAX_VERSION
from shared.repository import FileSource, Listed, Repository, UrlSource, publish
from tests.helpers.stores import entry_of, ignore, manifest, written


def test_a_published_version_is_listed_and_reads_back(
    repository: Repository, tmp_path: Path
) -> None:
    """What was published is what a reader finds, in any order of publishing."""
    files = written(tmp_path, {"model.onnx": 1000})
    for version in (2, 10, 1):
        publish(repository, manifest("tabby", version), files)
    publish(repository, manifest("espresso"), files)
    assert repository.list_models() == ["espresso", "tabby"]
    assert repository.list_versions("tabby") == [1, 2, 10]
    assert b'"version": 10' in repository.read_manifest("tabby", 10)


def test_an_empty_repository_has_no_models_and_no_versions(repository: Repository) -> None:
    """Nothing published is not an error."""
    repository.check()
    assert repository.list_models() == []
    assert repository.list_versions("tabby") == []


def test_a_manifest_that_is_not_there_is_missing(repository: Repository) -> None:
    """The cause names model and version."""
    with pytest.raises(BlobMissing, match="tabby version 3"):
        repository.read_manifest("tabby", 3)


def test_a_manifest_is_written_once(repository: Repository) -> None:
    """The same bytes again are no error, others are refused and change nothing."""
    repository.put_manifest("tabby", 1, b"first")
    repository.put_manifest("tabby", 1, b"first")
    with pytest.raises(Conflict, match="tabby version 1"):
        repository.put_manifest("tabby", 1, b"second")
    assert repository.read_manifest("tabby", 1) == b"first"


def test_a_version_that_is_deleted_is_gone(repository: Repository, tmp_path: Path) -> None:
    """Its blobs stay, for others that share them; it can be published again, with other content."""
    files = written(tmp_path, {"model.onnx": 1000})
    for version in (1, 2):
        publish(repository, manifest("tabby", version), files)
    repository.delete_manifest("tabby", 2)
    assert repository.list_versions("tabby") == [1]
    assert repository.has_blob(entry_of(files["model.onnx"]).sha256)
    with pytest.raises(BlobMissing, match="tabby version 2"):
        repository.read_manifest("tabby", 2)
    with pytest.raises(BlobMissing, match="tabby version 2"):
        repository.delete_manifest("tabby", 2)
    repository.put_manifest("tabby", 2, b"other")
    repository.delete_manifest("tabby", 1)
    repository.delete_manifest("tabby", 2)
    assert repository.list_versions("tabby") == []


def test_the_same_again_is_said_to_be_unchanged(repository: Repository, tmp_path: Path) -> None:
    """So that a push can say it."""
    files = written(tmp_path, {"model.onnx": 1000})
    said = [publish(repository, manifest("tabby"), files).unchanged for _ in range(2)]
    assert said == [False, True]


def test_a_blob_is_stored_under_its_hash(repository: Repository, tmp_path: Path) -> None:
    """It is there by its hash and, if asked, by its size; all its bytes are reported."""
    path = written(tmp_path, {"a": 3000})["a"]
    entry = entry_of(path)
    assert not repository.has_blob(entry.sha256)
    sent: list[int] = []
    repository.put_blob(entry.sha256, path, sent.append)
    assert sum(sent) == 3000
    assert repository.has_blob(entry.sha256)
    assert repository.has_blob(entry.sha256, 3000)
    assert not repository.has_blob(entry.sha256, 2999)
    assert isinstance(repository.blob_sources(entry.sha256, 3000), FileSource | UrlSource)


def test_an_empty_blob_is_a_blob(repository: Repository, tmp_path: Path) -> None:
    """Zero bytes have a hash too."""
    path = written(tmp_path, {"empty": 0})["empty"]
    repository.put_blob(entry_of(path).sha256, path, ignore)
    assert repository.has_blob(entry_of(path).sha256, 0)


def test_a_file_of_another_hash_is_not_stored(repository: Repository, tmp_path: Path) -> None:
    """A file that changed since it was hashed must not appear under the old hash."""
    path = written(tmp_path, {"a": 100})["a"]
    promised = entry_of(path).sha256
    path.write_bytes(b"changed")
    with pytest.raises(Corrupt, match="changed"):
        repository.put_blob(promised, path, ignore)
    assert not repository.has_blob(promised)


def test_a_file_to_publish_that_is_gone_is_missing(repository: Repository, tmp_path: Path) -> None:
    """No raw OSError comes through."""
    with pytest.raises(BlobMissing):
        repository.put_blob("0" * 64, tmp_path / "nowhere", ignore)


@pytest.mark.parametrize(
    "name", ["..", "a/../b", "/etc/passwd", "a\nb", "blobs", "", "é", "a" * 200]
)
def test_names_that_could_lead_elsewhere_are_refused(repository: Repository, name: str) -> None:
    """Checked in the repository too, not only at the door."""
    with pytest.raises(InvalidInput):
        repository.read_manifest(name, 1)
    with pytest.raises(InvalidInput):
        repository.list_versions(name)
    with pytest.raises(InvalidInput):
        repository.put_manifest(name, 1, b"{}")


@pytest.mark.parametrize("sha256", ["../../etc/passwd", "A" * 64, "0" * 63, ""])
def test_what_is_no_hash_is_refused(repository: Repository, sha256: str) -> None:
    """A manifest's sha256 becomes a key, so it is checked here again."""
    with pytest.raises(InvalidInput):
        repository.has_blob(sha256)
    with pytest.raises(InvalidInput):
        repository.blob_sources(sha256, 1)


@pytest.mark.parametrize("version", [0, MAX_VERSION + 1, 9_999_999_999])
def test_a_version_that_no_listing_shows_is_neither_read_nor_published(
    repository: Repository, version: int
) -> None:
    """What can be published can be listed."""
    with pytest.raises(InvalidInput, match="integers from 1 to 999999999"):
        repository.read_manifest("tabby", version)
    with pytest.raises(InvalidInput):
        repository.put_manifest("tabby", version, b"{}")


def test_the_highest_version_is_listed(repository: Repository) -> None:
    """The limit itself is a version."""
    repository.put_manifest("tabby", MAX_VERSION, b"{}")
    assert repository.list_versions("tabby") == [MAX_VERSION]
    assert repository.list_all() == [Listed("tabby", (MAX_VERSION,))]


def test_one_read_lists_all_models_and_their_versions(
    repository: Repository, tmp_path: Path
) -> None:
    """The same as a read for each; names with characters below `/` keep their order."""
    assert repository.list_all() == []
    files = written(tmp_path, {"model.onnx": 1000})
    for name in ("tab", "tab-1", "tab.b", "tabby", "blobs-x", "blobs.y", "blob", "zz", "Zz"):
        publish(repository, manifest(name), files)
    publish(repository, manifest("tab", 10), files)
    publish(repository, manifest("tab", 2), files)
    rows = repository.list_all()
    assert [row.name for row in rows] == repository.list_models()
    assert {row.name: list(row.versions) for row in rows} == {
        name: repository.list_versions(name) for name in repository.list_models()
    }
    assert rows[[row.name for row in rows].index("tab")] == Listed("tab", (1, 2, 10))


def test_files_of_another_layout_are_foreign(repository: Repository, tmp_path: Path) -> None:
    """Manifests are ours, whatever else there is."""
    publish(repository, manifest("res"), written(tmp_path, {"model.onnx": 1000}))
    assert repository.foreign_files("res") == []
    assert repository.foreign_files("none") == []
    for key in ("res/1/model.onnx", "res/config.pbtxt"):
        put_beside(repository, key)
    assert repository.foreign_files("res") == ["1/model.onnx", "config.pbtxt"]


def put_beside(repository: Repository, key: str) -> None:
    """A file that another program has put there."""
    if repository.url.startswith("file://"):
        path = Path(repository.url.removeprefix("file://")) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    else:
        where = repository._object(key)  # type: ignore[attr-defined]
        repository._connection.client.put_object(**where, Body=b"")  # type: ignore[attr-defined]
