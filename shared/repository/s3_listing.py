"""All models of a bucket by listing its keys, a thousand at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from shared.names import RESERVED_NAMES
from shared.repository.base import INDEX, MANIFEST_PATH, Listed, is_model_name

PASSED = RESERVED_NAMES | {INDEX}


def list_by_keys(client: Any, bucket: str, prefix: str) -> list[Listed]:
    """The models below `prefix` ("" or with a slash at its end) that have a version. Blobs are
    passed over, or a repository of a million of them would take a thousand requests. boto3's
    errors."""
    found: dict[str, list[int]] = defaultdict(list)
    for key in _keys(client, bucket, prefix):
        model, _, rest = key.partition("/")
        match = MANIFEST_PATH.fullmatch(rest)
        if match and is_model_name(model):
            found[model].append(int(match[1]))
    return [Listed(name, tuple(sorted(found[name]))) for name in sorted(found)]


def _keys(client: Any, bucket: str, prefix: str) -> Iterator[str]:
    """All keys, relative to `prefix`; of a reserved folder one page at most."""
    where: dict[str, str] = {}
    passed: set[str] = set()
    while True:
        page = client.list_objects_v2(Bucket=bucket, Prefix=prefix, **where)
        keys = [entry["Key"][len(prefix) :] for entry in page.get("Contents", [])]
        yield from keys
        if not page.get("IsTruncated"):
            return
        where = {"ContinuationToken": page["NextContinuationToken"]}
        reserved = keys[-1].partition("/")[0] if keys else ""
        if reserved in PASSED - passed:
            passed.add(reserved)
            # Not past "blobs0": some stores sort by folder, and there "blobs-of-mine" comes later.
            where = {"StartAfter": f"{prefix}{reserved}/~"}
