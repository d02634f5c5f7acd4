from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from shared.errors import (
    BlobMissing,
    Conflict,
    Corrupt,
    Forbidden,
    RepositoryError,
    StoreUnavailable,
)
from shared.manifest import MAX_MANIFEST_BYTES
from shared.repository import Listed, Repository, open_repository
from tests.helpers.stores import entry_of, ignore, written


def root_of(repository: Repository) -> Path:
    return Path(repository.url.removeprefix("file://"))


def test_a_folder_that_does_not_exist_is_said_at_the_check(tmp_path: Path) -> None:
    """The message does not repeat the path."""
    with pytest.raises(BlobMissing, match="does not exist") as caught:
        open_repository((tmp_path / "nowhere").as_uri()).check()
    assert str(tmp_path) not in caught.value.message


def test_a_half_written_version_is_not_listed(folder: Repository) -> None:
    """A version is there when its manifest is."""
    (root_of(folder) / "tabby" / "1").mkdir(parents=True)
    (root_of(folder) / "tabby" / "latest").mkdir()
    folder.put_manifest("tabby", 2, b"{}")
    assert folder.list_versions("tabby") == [2]


def test_folders_that_no_model_can_be_called_are_passed_over(folder: Repository) -> None:
    """Hidden folders, blobs, what an editor left."""
    for name in (".git", "blobs", "a b", "x..y", "tabby"):
        (root_of(folder) / name).mkdir(exist_ok=True)
    (root_of(folder) / "a-file").touch()
    assert folder.list_models() == ["tabby"]


@pytest.mark.parametrize("link", ["tabby", "tabby/1", "tabby/1/manifest.json"])
def test_a_link_that_leads_out_is_not_followed(
    folder: Repository, tmp_path: Path, link: str
) -> None:
    """Wherever on the way it stands."""
    outside = tmp_path / "outside"
    (outside / "1").mkdir(parents=True)
    for path in (outside / "manifest.json", outside / "1" / "manifest.json"):
        path.write_text("secret")
    targets = {"tabby": outside, "tabby/1": outside / "1"}
    place = root_of(folder) / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(targets.get(link, outside / "manifest.json"))
    with pytest.raises(Forbidden, match="leads out"):
        folder.read_manifest("tabby", 1)


LINKS = {  # place of a link -> its target
    "a link out": ("tabby", "../outside"),
    "a link to nothing": ("tabby", "nowhere"),
    "a link to itself": ("tabby", "tabby"),
    "a version's link out": ("tabby/1", "../../outside/1"),
    "a version's link to nothing": ("tabby/1", "nowhere"),
    "a version's link to itself": ("tabby/1", "1"),
    "a manifest's link out": ("tabby/1/manifest.json", "../../../outside/1/manifest.json"),
    "a manifest's link to nothing": ("tabby/1/manifest.json", "nowhere"),
    "a manifest's link to itself": ("tabby/1/manifest.json", "manifest.json"),
}


@pytest.mark.parametrize("case", LINKS)
def test_what_cannot_be_read_is_a_row_with_its_error_and_fails_no_other(
    folder: Repository, tmp_path: Path, case: str
) -> None:
    """Whichever part of the path is the link, and wherever it leads."""
    (tmp_path / "outside" / "1").mkdir(parents=True)
    (tmp_path / "outside" / "1" / "manifest.json").write_text("secret")
    folder.put_manifest("a", 1, b"{}")
    folder.put_manifest("z", 3, b"{}")
    place, target = LINKS[case]
    link = root_of(folder) / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    first, broken, last = folder.list_all()
    assert (first, last) == (Listed("a", (1,)), Listed("z", (3,)))
    assert (broken.name, broken.versions) == ("tabby", ())
    assert broken.error.startswith("tabby")
    assert "tabby" in folder.list_models()
    assert str(tmp_path) not in broken.error


def test_a_broken_version_leaves_the_others_of_its_model(folder: Repository) -> None:
    """They are listed, and the row says which one is broken."""
    for version in (1, 3):
        folder.put_manifest("tabby", version, b"{}")
    (root_of(folder) / "tabby" / "2").symlink_to("nowhere")
    (row,) = folder.list_all()
    assert row.versions == (1, 3)
    assert "tabby/2" in row.error
    assert folder.list_versions("tabby") == [1, 2, 3]


def test_links_that_stay_inside_are_models(folder: Repository) -> None:
    """One model under two names, and a link to a file that no model is."""
    folder.put_manifest("tabby", 1, b"{}")
    (root_of(folder) / "cat").symlink_to("tabby")
    (root_of(folder) / "notes").write_text("x")
    (root_of(folder) / "readme").symlink_to("notes")
    assert folder.list_all() == [Listed("cat", (1,)), Listed("tabby", (1,))]


def test_a_blob_that_is_a_link_leading_out_is_not_followed(
    folder: Repository, tmp_path: Path
) -> None:
    """Nor one that leads in a circle."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    blobs = root_of(folder) / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (blobs / ("a" * 64)).symlink_to(secret)
    (blobs / ("b" * 64)).symlink_to(blobs / ("b" * 64))
    with pytest.raises(Forbidden):
        folder.blob_sources("a" * 64, 6)
    with pytest.raises(RepositoryError):
        folder.blob_sources("b" * 64, 6)


def test_a_root_that_is_a_link_is_followed(folder: Repository, tmp_path: Path) -> None:
    """The operator named it; only what strangers name is kept inside."""
    folder.put_manifest("tabby", 1, b"{}")
    (tmp_path / "link").symlink_to(root_of(folder))
    assert open_repository((tmp_path / "link").as_uri()).read_manifest("tabby", 1) == b"{}"


def test_a_blob_of_another_size_is_corrupt(folder: Repository, tmp_path: Path) -> None:
    """Known before a byte is copied."""
    path = written(tmp_path, {"a": 100})["a"]
    folder.put_blob(entry_of(path).sha256, path, ignore)
    with pytest.raises(Corrupt, match="holds 100 bytes, the manifest says 99"):
        folder.blob_sources(entry_of(path).sha256, 99)


def test_a_blob_that_is_a_folder_is_corrupt(folder: Repository) -> None:
    """Somebody else's hand, and no crash."""
    (root_of(folder) / "blobs" / "sha256" / ("a" * 64)).mkdir(parents=True)
    with pytest.raises(Corrupt, match="plain file"):
        folder.blob_sources("a" * 64, 1)


def test_a_huge_manifest_is_not_read_whole(folder: Repository) -> None:
    """One byte more than allowed is enough for the parser to refuse it."""
    folder.put_manifest("tabby", 1, b" " * (3 * MAX_MANIFEST_BYTES))
    assert len(folder.read_manifest("tabby", 1)) == MAX_MANIFEST_BYTES + 1


def test_of_many_publishers_at_once_one_wins(folder: Repository) -> None:
    """The others hear of the conflict, and no partial file stays."""
    outcomes: list[bool] = []

    def put(number: int) -> None:
        try:
            folder.put_manifest("tabby", 1, b"%d" % number)
        except Conflict:
            outcomes.append(False)
        else:
            outcomes.append(True)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 7 + [True]
    assert list((root_of(folder) / "blobs" / "partial").iterdir()) == []


def test_what_a_dead_publisher_left_is_removed_after_a_day(folder: Repository) -> None:
    """What a living one may still be writing is not."""
    partial = root_of(folder) / "blobs" / "partial"
    partial.mkdir(parents=True)
    (partial / "old").touch()
    (partial / "new").touch()
    yesterday = time.time() - 25 * 3600
    os.utime(partial / "old", (yesterday, yesterday))
    folder.put_manifest("tabby", 1, b"{}")
    assert [path.name for path in partial.iterdir()] == ["new"]


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_a_file_system_that_is_not_mounted_has_not_deleted_its_models(
    folder: Repository, tmp_path: Path, left: str
) -> None:
    """Every call says that the store is away, and nothing is written where it was."""
    weights = tmp_path / "weights"
    weights.write_bytes(b"weights")
    sha256, size = hashlib.sha256(b"weights").hexdigest(), len(b"weights")
    folder.put_blob(sha256, weights, ignore)
    folder.put_manifest("tabby", 1, b"{}")
    assert folder.list_versions("tabby") == [1]
    root, away = root_of(folder), tmp_path / "away"
    root.rename(away)
    if left != "nothing":
        root.mkdir()
    calls = (
        folder.list_all, folder.list_models, lambda: folder.list_versions("tabby"),
        lambda: folder.list_versions("new"), lambda: folder.read_manifest("tabby", 1),
        lambda: folder.blob_sources(sha256, size), lambda: folder.has_blob(sha256),
        lambda: folder.notes.put("a", b"b"),
    )  # fmt: skip
    for call in calls:
        with pytest.raises(StoreUnavailable, match="is its file system mounted"):
            call()
    if left != "nothing":
        assert list(root.iterdir()) == []
        root.rmdir()
    away.rename(root)
    assert folder.list_models() == ["tabby"] and folder.list_versions("other") == []


def test_a_folder_without_models_has_none(folder: Repository) -> None:
    """A new one is empty, and that is no fault."""
    assert folder.list_all() == [] and folder.list_versions("tabby") == []


def test_a_manifest_that_is_a_pipe_is_not_waited_for(folder: Repository) -> None:
    """Its reader would hang for ever, and with it a thread of the gateway."""
    path = root_of(folder) / "tabby" / "1" / "manifest.json"
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with pytest.raises(Corrupt, match="not a plain file"):
        folder.read_manifest("tabby", 1)
