from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import BlobMissing, Conflict, InvalidInput
from shared.manifest import FileEntry
from shared.repository import Repository, publish
from tests.helpers.stores import entry_of, manifest, written


class Recorder:
    """Passes everything on and notes which blobs were sent."""

    def __init__(self, inner: Repository) -> None:
        self.inner = inner
        self.put: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def put_blob(self, sha256: str, path: Path, on_bytes: Callable[[int], None]) -> None:
        self.put.append(sha256)
        self.inner.put_blob(sha256, path, on_bytes)


def test_publishing_again_sends_nothing(repository: Repository, tmp_path: Path) -> None:
    """Publishing is idempotent, down to the bytes on the wire."""
    files = written(tmp_path, {"program.json": 500, "weights/a": 70_000})
    first = publish(repository, manifest(), files)
    second = publish(repository, manifest(), files)
    assert (first.bytes_sent, first.bytes_shared) == (70_500, 0)
    assert (second.bytes_sent, second.bytes_shared) == (0, 70_500)
    assert second.manifest == first.manifest


def test_the_same_bytes_under_a_hundred_names_are_stored_once(
    repository: Repository, tmp_path: Path
) -> None:
    """Within a version and across models, one blob is one object."""
    body = written(tmp_path, {"a": 20_000})["a"]
    recorder = Recorder(repository)
    for model in range(3):
        files = {f"weights/{n}": body for n in range(100)}
        result = publish(recorder, manifest(f"m{model}"), files)  # type: ignore[arg-type]
        assert len(result.manifest.files) == 100
        assert result.bytes_sent == (20_000 if model == 0 else 0)
    assert recorder.put == [entry_of(body).sha256]


def test_an_interrupted_publish_sends_only_the_rest(repository: Repository, tmp_path: Path) -> None:
    """After an error half-way no version shows, and the next run does not begin again."""
    files = written(tmp_path, {f"weights/{n}": 10_000 for n in range(8)})

    class Failing(Recorder):
        def put_blob(self, sha256: str, path: Path, on_bytes: Callable[[int], None]) -> None:
            if len(self.put) >= 3:
                raise BlobMissing("unplugged")
            super().put_blob(sha256, path, on_bytes)

    with pytest.raises(BlobMissing, match="unplugged"):
        publish(Failing(repository), manifest(), files)  # type: ignore[arg-type]
    assert repository.list_versions("tabby") == []
    result = publish(repository, manifest(), files)
    assert result.bytes_shared >= 30_000
    assert result.bytes_sent + result.bytes_shared == 80_000
    assert repository.list_versions("tabby") == [1]


def test_a_killed_publish_leaves_no_half_version(folder: Repository, tmp_path: Path) -> None:
    """SIGKILL in the middle: nothing is listed, and the next run finishes the work."""
    files = written(tmp_path, {f"weights/{n}": 100_000 for n in range(12)})
    script = f"""
        import os, signal
        from pathlib import Path
        from shared.repository import open_repository, publish
        from tests.helpers.stores import manifest
        def die_half_way(done, total):
            if done >= 900_000:
                os.kill(os.getpid(), signal.SIGKILL)
        names = {sorted(files)!r}
        publish(open_repository({folder.url!r}), manifest(),
                {{n: Path({str(tmp_path)!r}) / "to-publish" / n for n in names}}, die_half_way)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=Path.cwd())
    assert killed.returncode == -9
    assert folder.list_versions("tabby") == []
    result = publish(folder, manifest(), files)
    assert 0 < result.bytes_sent < 1_200_000
    assert all(folder.has_blob(entry.sha256, entry.size) for entry in result.manifest.files)


def test_other_content_for_a_version_is_refused_before_anything_is_sent(
    repository: Repository, tmp_path: Path
) -> None:
    """A version never changes, and a hopeless publish costs no upload."""
    publish(repository, manifest(), written(tmp_path / "1", {"model.onnx": 100}))
    recorder = Recorder(repository)
    with pytest.raises(Conflict, match="tabby version 1"):
        publish(recorder, manifest(), written(tmp_path / "2", {"model.onnx": 100}))  # type: ignore[arg-type]
    assert recorder.put == []


def test_a_blob_of_the_wrong_size_is_mended(folder: Repository, tmp_path: Path) -> None:
    """Publishing again replaces what was truncated in the repository."""
    files = written(tmp_path, {"model.onnx": 1000})
    entry = publish(folder, manifest(), files).manifest.files[0]
    blob = tmp_path / "repository" / "blobs" / "sha256" / entry.sha256
    blob.write_bytes(b"short")
    assert publish(folder, manifest(), files).bytes_sent == 1000
    assert folder.has_blob(entry.sha256, 1000)


def test_progress_ends_at_the_total(folder: Repository, tmp_path: Path) -> None:
    """The bar reaches its end whether bytes are sent or found there."""
    files = written(tmp_path, {"a": 1000, "b": 2000})
    seen: list[tuple[int, int]] = []
    for _ in range(2):
        seen.clear()
        publish(folder, manifest(), files, lambda done, total: seen.append((done, total)))
        assert seen[-1] == (3000, 3000)
        assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"platform": "cobol"}, "platform"),
        ({"name": "../up"}, "model name"),
        ({"version": 0}, "version"),
        ({"inputs": []}, "inputs"),
        ({"files": [FileEntry("other", "0" * 64, 1)]}, "files"),
    ],
)
def test_a_manifest_that_no_reader_would_accept_is_refused(
    folder: Repository, tmp_path: Path, changes: dict[str, object], field: str
) -> None:
    """The publisher hears of it, with the field, and nothing is sent."""
    files = written(tmp_path, {"model.onnx": 10})
    with pytest.raises(InvalidInput, match=field):
        publish(folder, manifest(**changes), files)
    assert not (tmp_path / "repository" / "blobs").exists()


def test_a_version_without_files_is_refused(folder: Repository) -> None:
    """There would be nothing to load."""
    with pytest.raises(InvalidInput, match="files"):
        publish(folder, manifest(), {})


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a//b", " a", "a\tb", "a?b", "C:/a"])
def test_a_file_name_outside_the_version_is_refused(
    folder: Repository, tmp_path: Path, name: str
) -> None:
    """A manifest that names such a file would be refused by every reader."""
    path = written(tmp_path, {"a": 10})["a"]
    with pytest.raises(InvalidInput):
        publish(folder, manifest(), {name: path})
