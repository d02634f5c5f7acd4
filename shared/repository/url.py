"""The URL of a repository in one normal form, so that two spellings of one place are equal.

    s3://bucket/team a/x   s3://bucket/team%20a/x/       one prefix: "team a/x"
    file:///srv/my models  file://localhost/srv/./my%20models/   one folder

A percent-encoded character is that character, a `+` is a plus, and one slash at the end means
nothing. In a key of S3 two slashes in a row are not one, so they are refused, not merged.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from shared.errors import ConfigError

EXPECTED = "want s3://bucket, s3://bucket/prefix or file:///folder"
MAX_PREFIX_BYTES = 700  # a key of S3 has 1024 bytes at most, and ours are up to 160 longer
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SAFE = "/=+@:"  # the others are encoded: a comma ends an item of a setting, a space a word


@dataclass(frozen=True)
class RepositoryUrl:
    """A place. `path`, decoded: the prefix of its keys in `bucket`, without a slash around it; or,
    where `bucket` is empty, a folder."""

    bucket: str
    path: str

    def __str__(self) -> str:
        """The normal form."""
        path = quote(os.fsencode(self.path), safe=_SAFE)
        if not self.bucket:
            return f"file://{path}"
        return f"s3://{self.bucket}/{path}".rstrip("/")

    def is_within(self, above: RepositoryUrl) -> bool:
        """Whether `above` is this place or a folder above it: s3://a/b is above s3://a/b/c, and
        not above s3://a/bc."""
        inside = not above.path or f"{self.path}/".startswith(f"{above.path}/")
        return self.bucket == above.bucket and inside


def parse(url: str) -> RepositoryUrl:
    """The place that `url` names; ConfigError, naming what is wrong in it, if it names none."""
    scheme, found, rest = url.strip().partition("://")
    host, _, path = rest.partition("/")
    if "@" in host:
        raise ConfigError("model repository URL: credentials do not belong in it, use AWS_*")
    if not found or scheme.lower() not in ("s3", "file"):
        raise _wrong(url, EXPECTED)
    for mark in "?#":
        if mark in rest:
            raise _wrong(url, f"'{mark}' means nothing in it; in a name it is %{ord(mark):X}")
    decoded = os.fsdecode(unquote_to_bytes(path))
    return _folder(url, host, decoded) if scheme.lower() == "file" else _keys(url, host, decoded)


def is_within(url: str, prefix: str) -> bool:
    """Whether `prefix` names the place of `url` or one above it; False if it names none."""
    try:
        return parse(url).is_within(parse(prefix))
    except ConfigError:
        return False


def faults(setting: str, urls: Iterable[str]) -> list[str]:
    """What is wrong with each of the URLs of a setting."""
    found = []
    for url in urls:
        try:
            parse(url)
        except ConfigError as error:
            found.append(f"{setting}: {error.message}")
    return found


def _folder(url: str, host: str, path: str) -> RepositoryUrl:
    folder = posixpath.normpath("/" + path.strip("/"))
    if host not in ("", "localhost") or folder == "/":
        raise _wrong(url, EXPECTED)
    if "\0" in folder:
        raise _wrong(url, "a path has no character U+0000")
    return RepositoryUrl("", folder)


def _keys(url: str, bucket: str, path: str) -> RepositoryUrl:
    if not _BUCKET.fullmatch(bucket):
        raise _wrong(url, f"a bucket's name has 3 to 63 of a-z 0-9 . -; {EXPECTED}")
    prefix = path.removesuffix("/")
    parts = prefix.split("/") if path else []
    if "" in parts:
        raise _wrong(url, "'//' makes an empty name in a key; stores differ in what it means")
    if {".", ".."} & set(parts):
        raise _wrong(url, "'.' and '..' are not folders in a key of S3")
    for character in prefix:
        if unicodedata.category(character) in ("Cc", "Cs"):  # control, and what was not UTF-8
            raise _wrong(url, f"the character U+{ord(character):04X} cannot be in a key")
    if len(prefix.encode()) > MAX_PREFIX_BYTES:
        raise _wrong(url, f"its prefix has over {MAX_PREFIX_BYTES} bytes")
    return RepositoryUrl(bucket, prefix)


def _wrong(url: str, why: str) -> ConfigError:
    return ConfigError(f"model repository URL {url[:200]!r}: {why}")
