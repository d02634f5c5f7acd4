from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shared.errors import BlobMissing, Conflict, Corrupt, Forbidden, StoreUnavailable
from shared.manifest import MAX_MANIFEST_BYTES
from shared.repository import Listed, UrlSource, open_repository
from shared.repository.probe import can_write
from shared.repository.s3_client import make_client
from shared.repository.s3_upload import upload
from tests.helpers.store_proxy import Proxy
from tests.helpers.stores import REGION, Store, entry_of, ignore, written

MIB = 1 << 20


@pytest.fixture(params=["weed", "moto"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each S3 server in turn."""
    found: Store = request.getfixturevalue(request.param)
    return found


def test_a_bucket_that_does_not_exist_is_said_at_the_check(store: Store) -> None:
    """Not only when the first model is asked for."""
    elsewhere = Store(store.endpoint_url, store.access_key, store.secret_key, "no-such-bucket")
    with pytest.raises(BlobMissing, match="bucket does not exist"):
        elsewhere.repository("").check()


def test_a_store_that_does_not_answer_is_unavailable() -> None:
    """Nobody listens on the discard port."""
    nowhere = Store("http://127.0.0.1:9", "key", "secret", "models")
    with pytest.raises(StoreUnavailable) as caught:
        nowhere.repository("").check()
    assert "127.0.0.1" not in caught.value.message


def test_missing_credentials_are_forbidden(weed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which variables to set."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    repository = open_repository("s3://models", endpoint_url=weed.endpoint_url)
    with pytest.raises(Forbidden, match="AWS_ACCESS_KEY_ID"):
        repository.check()


def test_credentials_are_found_in_the_environment(
    weed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every AWS tool finds them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", weed.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", weed.secret_key)
    open_repository(f"s3://{weed.bucket}", endpoint_url=weed.endpoint_url).check()


def test_objects_that_are_no_versions_are_passed_over(store: Store, prefix: str) -> None:
    """Only <model>/<version>/manifest.json makes a version; listing goes on over many pages."""
    repository, client = store.repository(prefix), store.client()
    for key in ("tabby/2/notes.txt", "tabby/02/manifest.json", "tabby/3/manifest.json/x", "a b/x"):
        client.put_object(Bucket=store.bucket, Key=f"{prefix}/{key}", Body=b"")
    repository.put_manifest("tabby", 1, b"{}")
    assert repository.list_versions("tabby") == [1]
    assert repository.list_models() == ["tabby"]


def _key(store: Store, client: Any, key: str) -> None:
    client.put_object(Bucket=store.bucket, Key=key, Body=b"")


def test_listing_all_takes_a_request_for_a_thousand_models_and_none_for_more_blobs(
    store: Store, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the blobs one page is seen, wherever they lie among the names."""
    client = store.client()
    names = [f"{letter}{number:03}" for letter in ("a", "blobs-", "z") for number in range(300)]
    keys = [f"{prefix}/{name}/1/manifest.json" for name in names]
    keys += [f"{prefix}/blobs/sha256/{number:064}" for number in range(2_500)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: _key(store, client, key), keys))
    repository, asked = store.repository(prefix), list[str]()
    real = repository._connection.client.list_objects_v2  # type: ignore[attr-defined]

    def counted(**where: Any) -> Any:
        asked.append(str(where.get("StartAfter", "")))
        return real(**where)

    monkeypatch.setattr(repository._connection.client, "list_objects_v2", counted)  # type: ignore[attr-defined]
    assert [row.name for row in repository.list_all()] == sorted(names)
    assert len(asked) == 2


def test_objects_beside_versions_are_not_listed(store: Store, prefix: str) -> None:
    """Only <model>/<version>/manifest.json makes a model, under a name that a model can have."""
    client = store.client()
    for key in ("tabby/2/notes.txt", "tabby/02/manifest.json", "tabby/3/manifest.json/x", "a b/x",
                "a b/1/manifest.json", "1/manifest.json", "blobs/1/manifest.json"):  # fmt: skip
        _key(store, client, f"{prefix}/{key}")
    assert store.repository(prefix).list_all() == []
    _key(store, client, f"{prefix}/tabby/1/manifest.json")
    assert store.repository(prefix).list_all() == [Listed("tabby", (1,))]


async def test_a_policy_that_forbids_a_model_forbids_no_other(
    proxy: Proxy, weed: Store, prefix: str
) -> None:
    """Where the whole may not be listed each model is; the one that must not be has the reason."""
    direct = weed.repository(prefix)

    def publish_some() -> None:
        for name in ("a", "c", "z"):
            direct.put_manifest(name, 1, b"{}")

    await asyncio.to_thread(publish_some)

    async def forbid(request: web.Request) -> web.StreamResponse | None:
        asked, delimited = request.query.get("prefix", ""), "delimiter" in request.query
        if asked == f"{prefix}/c/" or (asked == f"{prefix}/" and not delimited):
            return web.Response(status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
        return None

    proxy.act_on_all = forbid
    repository = weed.repository(prefix, proxy.url)
    rows = await asyncio.to_thread(repository.list_all)
    assert [(row.name, row.versions, bool(row.error)) for row in rows] == [
        ("a", (1,), False), ("c", (), True), ("z", (1,), False),
    ]  # fmt: skip
    assert "AccessDenied" in rows[1].error


async def test_a_store_that_goes_away_while_it_is_listed_is_one_error(
    proxy: Proxy, weed: Store, prefix: str
) -> None:
    """Not a row for each model."""

    async def away(request: web.Request) -> web.StreamResponse:
        return web.Response(status=503)

    proxy.act_on_all = away
    with pytest.raises(StoreUnavailable):
        await asyncio.to_thread(weed.repository(prefix, proxy.url).list_all)


def test_a_prefix_is_not_the_beginning_of_another(store: Store, prefix: str) -> None:
    """`models` and `models-2`, `tab` and `tabby` are strangers."""
    store.repository(f"{prefix}-2").put_manifest("tabby", 1, b"{}")
    store.repository(prefix).put_manifest("tabby", 7, b"{}")
    assert store.repository(prefix).list_models() == ["tabby"]
    assert store.repository(prefix).list_versions("tab") == []


def test_a_huge_manifest_is_not_read_whole(store: Store, prefix: str) -> None:
    """One byte more than allowed is enough for the parser to refuse it."""
    repository = store.repository(prefix)
    repository.put_manifest("tabby", 1, b" " * (3 * MAX_MANIFEST_BYTES))
    assert len(repository.read_manifest("tabby", 1)) == MAX_MANIFEST_BYTES + 1


def test_of_many_publishers_at_once_one_wins(weed: Store, prefix: str) -> None:
    """If-None-Match decides it in the store."""
    repository = weed.repository(prefix)
    outcomes: list[bool] = []

    def put(number: int) -> None:
        try:
            repository.put_manifest("tabby", 1, b"%d" % number)
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


def test_a_big_file_is_uploaded_in_parts(store: Store, prefix: str, tmp_path: Path) -> None:
    """It arrives whole, under its hash, and every byte is reported once."""
    path = written(tmp_path, {"big": 11 * MIB + 1})["big"]
    client, sent = store.client(), list[int]()
    upload(client, store.bucket, prefix, path, entry_of(path).sha256, sent.append, 5 * MIB)
    assert sent == [5 * MIB, 5 * MIB, MIB + 1]
    answer = client.get_object(Bucket=store.bucket, Key=prefix)
    with answer["Body"] as body:
        assert body.read() == path.read_bytes()
    assert answer["ETag"].endswith('-3"')


def test_a_big_file_of_another_hash_is_not_stored(
    store: Store, prefix: str, tmp_path: Path
) -> None:
    """The upload is abandoned before it is completed: no object, and no parts to pay for."""
    path = written(tmp_path, {"big": 11 * MIB})["big"]
    client = store.client()
    with pytest.raises(Corrupt):
        upload(client, store.bucket, f"{prefix}/big", path, "0" * 64, ignore, 5 * MIB)
    listed = client.list_objects_v2(Bucket=store.bucket, Prefix=prefix)
    assert listed["KeyCount"] == 0
    assert not client.list_multipart_uploads(Bucket=store.bucket, Prefix=prefix).get("Uploads")


def test_a_signed_url_is_not_shown(store: Store, prefix: str, tmp_path: Path) -> None:
    """Whoever has it can read the blob for hours."""
    source = store.repository(prefix).blob_sources("0" * 64, 1)
    assert isinstance(source, UrlSource)
    assert "X-Amz-Signature" in source.url
    assert "Signature" not in repr(source)


def test_the_probe_tells_whether_a_put_works(weed: Store) -> None:
    """False for a wrong secret as for a dead server, and it leaves no object."""
    assert can_write(weed.client(), weed.bucket)
    assert not can_write(weed.client(), "no-bucket-of-ours")
    for endpoint, secret in ((weed.endpoint_url, "wrong"), ("http://127.0.0.1:9", "x")):
        client = make_client(endpoint, REGION, weed.access_key, secret, attempts=1, timeout_s=1)
        assert not can_write(client, weed.bucket)
