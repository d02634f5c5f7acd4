from __future__ import annotations

import subprocess
import sys

import pytest

from shared.errors import ConfigError, RepositoryError
from shared.repository import open_repository


@pytest.mark.parametrize(
    "url", ["s3://bucket", "s3://my-bucket/models", "s3://b.c/a/b_c/d.e", "file:///var/models"]
)
def test_a_url_opens_the_repository_it_names(url: str) -> None:
    """What was opened can be read back."""
    assert open_repository(url, region="eu-west-1").url == url


def test_a_trailing_slash_makes_no_difference() -> None:
    """Neither to the keys nor to the URL."""
    assert open_repository("s3://bucket/models/").url == "s3://bucket/models"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "models",
        "/var/models",
        "http://host/models",
        "file://host/models",
        "file:models",
        "file:///",
        "s3://",
        "s3:///models",
        "s3://Bucket",
        "s3://b",
        "s3://bucket/../other",
        "s3://bucket/a//b",
        "s3://bucket/a b",
        "s3://bucket/models?versionId=1",
        "s3://bucket/models#1",
    ],
)
def test_what_names_no_repository_is_refused(url: str) -> None:
    """At start, with what a URL looks like."""
    with pytest.raises(ConfigError, match="model repository URL"):
        open_repository(url)


def test_credentials_in_a_url_are_refused_and_not_shown() -> None:
    """A URL is printed and logged."""
    with pytest.raises(ConfigError) as caught:
        open_repository("s3://key:secret@bucket/models")
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("endpoint", ["localhost:8333", "not a url", "http://"])
def test_an_endpoint_that_is_no_url_is_refused(endpoint: str) -> None:
    """botocore's own complaint does not come through."""
    with pytest.raises(RepositoryError):
        open_repository("s3://bucket", endpoint_url=endpoint)


def test_boto3_is_imported_only_for_s3() -> None:
    """It takes a third of a second, which a folder need not cost."""
    code = (
        "import sys; from shared.repository import open_repository;"
        "open_repository('file:///models'); print('botocore' in sys.modules);"
        "open_repository('s3://models', region='x'); print('botocore' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "True"]
