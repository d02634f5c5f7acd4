from __future__ import annotations

import subprocess
import sys
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.errors import ConfigError, RepositoryError
from shared.repository import open_repository
from shared.repository.url import parse


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
        "s3://bucket/models?versionId=1",
        "s3://bucket/models#1",
    ],
)
def test_what_names_no_repository_is_refused(url: str) -> None:
    """At start, with what a URL looks like."""
    with pytest.raises(ConfigError, match="model repository URL"):
        open_repository(url)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("s3://bucket/a//b", "'//'"),
        ("s3://bucket//x", "'//'"),
        ("s3://bucket/x//", "'//'"),
        ("s3://bucket/a%2F%2Fb", "'//'"),
        ("s3://bucket//", "'//'"),
        ("s3://bucket/a/./b", r"'\.\.'"),
        ("s3://bucket/a%0Ab", r"U\+000A"),
        ("s3://bucket/a\tb", r"U\+0009"),
        ("s3://bucket/%7F", r"U\+007F"),
        ("s3://bucket/%00", r"U\+0000"),
        ("s3://bucket/%FF", r"U\+DCFF"),
        ("s3://bucket/a?b", "%3F"),
        ("s3://bucket/a#b", "%23"),
        ("s3://bucket/" + "x" * 701, "700 bytes"),
        ("s3://Bucket/a", "a-z 0-9"),
        ("s3://[bucket/a", "a-z 0-9"),
        ("file:///a%00b", r"U\+0000"),
    ],
)
def test_a_refusal_names_what_is_wrong(url: str, named: str) -> None:
    """The character, or the part that has none."""
    with pytest.raises(ConfigError, match=named):
        open_repository(url)


SAME = [
    ("s3://bucket/team%20a/x", "s3://bucket/team a/x", "S3://bucket/team a/x/ "),
    ("s3://bucket/env=prod/a+b/@y", "s3://bucket/env%3Dprod/a%2Bb/%40y/"),
    ("s3://bucket/~x/%281%29/it%27s", "s3://bucket/~x/(1)/it's"),
    ("s3://bucket/%E6%A8%A1%E5%9E%8B", "s3://bucket/模型"),
    ("s3://bucket/a%2Cb", "s3://bucket/a,b"),
    ("s3://bucket/a%25b", "s3://bucket/a%b"),
    ("s3://bucket", "s3://bucket/"),
    ("file:///srv/my%20models", "file:///srv/my models", "file://localhost/srv/my%20models/"),
    ("file:///srv/a%2520b", "file:///srv//./a%2520b", "FILE:///srv/x/../a%2520b"),
    ("file:///srv/a%23b%3F", "file:///srv/a%23b%3f"),
    ("file:///srv/%FFa", "file:///srv/%ffa"),
]  # fmt: skip


@pytest.mark.parametrize("urls", SAME)
def test_spellings_of_one_place_have_one_normal_form(urls: tuple[str, ...]) -> None:
    """It is the first one; what it names is opened, and it names itself."""
    assert {open_repository(url, region="eu-west-1").url for url in urls} == {urls[0]}


def test_no_two_places_have_one_normal_form() -> None:
    """Each of the list is another one."""
    assert len({str(parse(urls[0])) for urls in SAME}) == len(SAME)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1))
def test_any_name_survives_encoding(name: str) -> None:
    """As a name in a key and of a folder; no comma or space is left that could end an item."""
    assume(name not in (".", "..") and len(name) < 100)
    for root in ("s3://bucket/p", "file:///p"):
        place = parse(f"{root}/{quote(name, safe='')}")
        assert place.path.rpartition("/")[2] == name
        assert parse(str(place)) == place
        assert "," not in str(place) and " " not in str(place)


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
