"""Who may run what: a pure decision, told in words that say how to change it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.errors import Untrusted
from shared.manifest import FileEntry, Manifest, TensorSpec
from shared.platforms import PLATFORMS
from shared.repository.url import is_within
from worker.runtimes.trust import Trust

PROGRAM = "ab" * 32


def manifest(platform: str) -> Manifest:
    tensor = [TensorSpec("x", "FP32", [1])]
    files = [FileEntry("program.json", PROGRAM, 1)]
    return Manifest(
        name="m", version=1, platform=platform, inputs=tensor, outputs=tensor, files=files
    )


@pytest.mark.parametrize("platform", sorted(PLATFORMS))
@pytest.mark.parametrize("code", [False, True])
def test_data_is_always_allowed_and_code_only_when_trusted(platform, code):
    """The table of platforms decides, and the operator's word for code."""
    allowed = code or PLATFORMS[platform].trust == "data"
    assert Trust(code=code).allows(manifest(platform), PROGRAM) is allowed


@pytest.mark.parametrize("platform", sorted(PLATFORMS))
def test_a_listed_program_is_allowed_as_a_program_only(platform):
    """A hash in the list opens the program of that hash, and no other format."""
    trust = Trust(programs=frozenset({PROGRAM}))
    wanted = PLATFORMS[platform].trust == "data" or platform == "pytorch_program"
    assert trust.allows(manifest(platform), PROGRAM) is wanted
    assert not trust.allows(manifest("pytorch_program"), "cd" * 32)
    assert not trust.allows(manifest("pytorch_program"), None)


def test_the_refusal_names_both_settings_for_a_program():
    """An operator reads what to set, and the hash to set it to."""
    with pytest.raises(
        Untrusted, match=f"WARMROUTE_TRUST_CODE.*WARMROUTE_TRUSTED_PROGRAMS.*{PROGRAM}"
    ):
        Trust().check(manifest("pytorch_program"))


def test_the_refusal_of_other_formats_names_the_repository_setting_only():
    """A list of programs would not help for TorchScript, so it is not offered."""
    with pytest.raises(Untrusted) as caught:
        Trust().check(manifest("pytorch_torchscript"))
    assert "WARMROUTE_TRUST_CODE" in caught.value.message
    assert "WARMROUTE_TRUSTED_PROGRAMS" not in caught.value.message


@pytest.mark.parametrize("folder", ["plain", "my models", "a%20b", "a,b", "a#b?c", "ünï"])
def test_the_value_in_a_refusal_is_the_one_that_helps(folder):
    """Whoever pastes it is trusted from then on, whatever the folder's name is."""
    url = Path(f"/srv/{folder}").as_uri()
    with pytest.raises(Untrusted) as caught:
        Trust.of_repository(url, [], []).check(manifest("onnxruntime_onnx"))
    match = re.search(r"WARMROUTE_TRUST_CODE=(\S+) where the workers", caught.value.message)
    assert match is not None
    assert "," not in match[1]  # the setting is a list, with commas
    assert Trust.of_repository(url, [match[1]], []).code


@pytest.mark.parametrize(
    ("url", "prefix", "inside"),
    [
        ("s3://bucket/models", "s3://bucket/models", True),
        ("s3://bucket/models", "s3://bucket/models/", True),
        ("s3://bucket/models/team", "s3://bucket/models", True),
        ("s3://bucket/models", "s3://bucket", True),
        ("s3://bucket/models-of-strangers", "s3://bucket/models", False),
        ("s3://bucket2/models", "s3://bucket", False),
        ("s3://bucket", "s3://bucket/models", False),
        ("file:///srv/models", " file:///srv ", True),
        ("s3://bucket/models", "", False),
        ("s3://bucket/models", "/", False),
        ("file:///srv/models", "file:///", False),
        ("file:///srv/models", "file:///srv/..", False),
        ("file:///srv/models", "file:", False),
        ("file:///srv/my%20models", "file:///srv/my models", True),
        ("file:///srv/my%20models", "file://localhost/srv/my%20models/", True),
        ("file:///srv/a%2520b", "file:///srv/a%2520b", True),
        ("file:///srv/a%2520b", "file:///srv/a b", False),
        ("file:///srv/a%23b", "file:///srv/a", False),
        ("file:///srv/a%2Cb", "file:///srv/a%2Cb", True),
        ("file:///srv/models/../strangers", "file:///srv/models", False),
        ("file:///srv//models", "FILE:///srv/models", True),
        ("s3://models/team", "s3://models/team-evil", False),
        ("s3://models/team-evil", "s3://models/team", False),
        ("s3://models/team a/x", "s3://models/team%20a", True),
        ("s3://models/team%20a/x", "s3://models/team a/", True),
        ("s3://models/team+a", "s3://models/team%20a", False),
        ("s3://models/team+a", "s3://models/team%2Ba", True),
        ("s3://models/team%2Fa", "s3://models/team/a", True),
        ("s3://models/模型", "s3://models/%E6%A8%A1%E5%9E%8B", True),
        ("s3://models/a%2520b", "s3://models/a%20b", False),
        ("s3://models/a,b", "s3://models/a%2Cb", True),
        ("s3://models/team", "s3://models//team", False),
        ("s3://models/team", "file:///models/team", False),
        ("file:///srv/team/x", "file:///srv/team/x/../x%2F", True),
        ("file:///srv/a%FFb", "file:///srv/a%FFb", True),
    ],
)
def test_a_prefix_ends_where_a_folder_ends(url, prefix, inside):
    """A prefix trusts itself and what lies below it, and no neighbour with a longer name."""
    assert is_within(url, prefix) is inside
    assert Trust.of_repository(url, [prefix], []).code is inside
