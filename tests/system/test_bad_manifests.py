"""Manifests that are missing, half-written or lie: the gateway, which reads them, says so.

Nothing here is published the right way: the files are written into the repository's folder, as a
broken tool, a full disk or a stranger would leave them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.system.setup import Broken, Refused, post

Change = Callable[[dict[str, Any]], None]


def test_a_version_without_a_manifest_is_not_there(refused: Refused, broken: Broken) -> None:
    """A version appears when its manifest does, which is written last."""
    broken.path.parent.mkdir(parents=True)
    status, error = refused(post(broken.infer))
    assert (status, error) == (404, f"model '{broken.name}' is not in the repository")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(
            lambda m: m.update(name="other"), "it is the manifest of 'other'", id="another's name"
        ),
        pytest.param(lambda m: m.update(version=2), "version 2", id="another version"),
        pytest.param(lambda m: m.pop("platform"), "platform", id="no platform"),
        pytest.param(lambda m: m.update(platform="pickle"), "platform", id="unknown platform"),
        pytest.param(lambda m: m.update(format=99), "format", id="a later format"),
        pytest.param(lambda m: m.update(files=[]), "files", id="no files"),
        pytest.param(
            lambda m: m["files"][0].update(name="../../../etc/passwd"), "file", id="file outside"
        ),
        pytest.param(lambda m: m["files"][0].update(name="/etc/passwd"), "file", id="root"),
        pytest.param(
            lambda m: m["files"][0].update(sha256="../" * 20), "sha256", id="hash outside"
        ),
        pytest.param(lambda m: m["files"][0].update(size=-1), "size", id="negative size"),
        pytest.param(lambda m: m["files"][0].update(size=2**50), "size", id="absurd size"),
        pytest.param(
            lambda m: m["inputs"][0].update(datatype="OBJECT"), "datatype", id="unknown datatype"
        ),
    ],
)
def test_a_manifest_that_is_none_is_refused_at_the_door(
    refused: Refused, broken: Broken, change: Change, named: str
) -> None:
    """422 that names the manifest and the field."""
    change(broken.manifest)
    broken.write()
    status, error = refused(post(broken.infer))
    assert status == 422
    assert error.startswith(f"manifest of {broken.name} version 1:") and named in error


@pytest.mark.parametrize(
    "raw", [b"", b'{"format": 1, "na', b"\0" * 100, b"[" * 10**6], ids=["empty", "half", "0", "["]
)
def test_a_half_written_manifest_is_refused_at_the_door(
    refused: Refused, broken: Broken, raw: bytes
) -> None:
    """422 that names the manifest."""
    broken.write(raw)
    status, error = refused(post(broken.infer))
    assert status == 422
    assert error.startswith(f"manifest of {broken.name} version 1:")


def test_a_manifest_larger_than_any_is_refused_at_the_door(
    refused: Refused, broken: Broken
) -> None:
    """It is not read whole."""
    broken.manifest["licence"] = "x" * (2 << 20)
    broken.write()
    status, error = refused(post(broken.infer))
    assert status == 422
    assert "over the limit" in error
