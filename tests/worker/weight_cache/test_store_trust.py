"""Certificates, credentials and demands of a store: the same for listings and for downloads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from shared.errors import (
    ConfigError,
    Forbidden,
)
from shared.manifest import FileEntry
from shared.repository import Repository, UrlSource, open_repository
from shared.repository.tls import CertificateRefused
from tests.helpers.certificates import Authority
from tests.helpers.store_proxy import Act, Proxy, start
from tests.helpers.stores import REGION, Store, refused
from worker.weight_cache.cache import BlobCache

EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>it has expired</Message></Error>"
NAMES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a machine on which nobody has set anything."""
    for name in (*NAMES, "AWS_CONFIG_FILE", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def secure(weed: Store, authority: Authority) -> AsyncIterator[Proxy]:
    """The real S3 server behind TLS, with a certificate of a private authority."""
    made = Proxy(weed.endpoint_url)
    runner = await start(made, authority.context)
    yield made
    await runner.cleanup()


@pytest.mark.parametrize("setting", [*NAMES, "ca_bundle"])
async def test_a_private_authority_is_trusted_on_every_path(
    cache: BlobCache, secure: Proxy, authority: Authority, weed: Store, prefix: str,
    blob: FileEntry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str,
) -> None:  # fmt: skip
    """Whichever setting names it: for boto3's requests and for downloads."""
    if setting == "ca_bundle":
        (tmp_path / "config").write_text(f"[default]\nca_bundle = {authority.ca}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    else:
        monkeypatch.setenv(setting, str(authority.ca))
    repository = weed.repository(prefix, secure.url)
    await asyncio.to_thread(weed.repository(prefix).put_manifest, "tabby", 1, b"{}")
    assert await asyncio.to_thread(repository.list_models) == ["tabby"]
    assert await asyncio.to_thread(repository.has_blob, blob.sha256)
    assert (await cache.ensure(repository, [blob]))["blob"].stat().st_size == blob.size
    assert secure.blob_requests


async def test_a_certificate_that_is_not_trusted_is_said_at_once(
    cache: BlobCache, secure: Proxy, authority: Authority, weed: Store, prefix: str,
    blob: FileEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It will be no other in a moment, so it is not tried again; the host is not in the message."""
    strict = weed.repository(prefix, secure.url)
    with pytest.raises(CertificateRefused, match=r"certificate .*AWS_CA_BUNDLE") as caught:
        await asyncio.to_thread(strict.check)
    assert authority.handshakes == 1
    assert "127.0.0.1" not in caught.value.message
    message = await refused(cache, strict, blob, CertificateRefused)
    assert "certificate" in message and "tried" not in message
    assert authority.handshakes <= 1 + 8  # one for each connection
    assert caught.value.code == "forbidden"


@pytest.mark.parametrize("content", [None, "not a certificate"])
@pytest.mark.parametrize("setting", NAMES)
def test_a_file_of_certificates_that_is_none_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str, content: str | None
) -> None:
    """At start, with the setting to look at."""
    if content:
        (tmp_path / "ca.pem").write_text(content)
    monkeypatch.setenv(setting, str(tmp_path / "ca.pem"))
    with pytest.raises(ConfigError, match=setting):
        open_repository("s3://models", endpoint_url="https://127.0.0.1:9", region=REGION)


def expiring(times: int, status: int = 400, body: bytes = EXPIRED) -> Act:
    """From the second request on, the store says so many times that it is too late."""
    seen = 0

    async def act(request: web.Request) -> web.StreamResponse | None:
        nonlocal seen
        seen += 1
        return web.Response(status=status, body=body) if 1 < seen <= times + 1 else None

    return act


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, EXPIRED),
        (403, b"<Code>AccessDenied</Code><Message>Request has expired</Message>"),
        (403, b"<Code>InvalidAccessKeyId</Code>"),
    ],
)
async def test_a_signature_that_expires_in_mid_download_is_made_again(
    cache: BlobCache, proxied: Repository, proxy: Proxy, blob: FileEntry, tmp_path: Path,
    status: int, body: bytes,
) -> None:  # fmt: skip
    """What has come is kept, and the rest comes with another signature."""
    proxy.act = expiring(1, status, body)
    paths = await cache.ensure(proxied, [blob])
    assert paths["blob"].read_bytes() == (tmp_path / "to-publish/blob").read_bytes()


async def test_signatures_that_are_refused_again_and_again_are_given_up(
    cache: BlobCache, proxied: Repository, proxy: Proxy, blob: FileEntry
) -> None:
    """The reason is the store's, and the requests are bounded."""
    proxy.act = expiring(1_000_000)
    message = await refused(cache, proxied, blob, Forbidden)
    assert "credentials have expired (400 ExpiredToken)" in message
    assert len(proxy.blob_requests) < 3 * 8


async def test_changed_credentials_are_seen_without_a_restart(
    weed: Store, prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file of credentials that was wrong and is right by the next call; signatures as well."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    write_credentials(file, weed.access_key, "not-the-secret")
    monkeypatch.setattr("shared.repository.s3_client.LOOK_AGAIN_S", 0.0)
    repository = open_repository(
        f"s3://{weed.bucket}/{prefix}", endpoint_url=weed.endpoint_url, region=REGION
    )
    with pytest.raises(Forbidden, match="secret key"):
        await asyncio.to_thread(repository.check)
    source = repository.blob_sources("0" * 64, 1)
    assert isinstance(source, UrlSource) and source.sign_again is not None
    write_credentials(file, weed.access_key, weed.secret_key)
    await asyncio.to_thread(repository.check)
    write_credentials(file, "another-key", weed.secret_key)
    await asyncio.to_thread(source.sign_again)  # with those of the check
    assert "another-key" in await asyncio.to_thread(source.sign_again)


def write_credentials(file: Path, key: str, secret: str) -> None:
    file.write_text(f"[default]\naws_access_key_id={key}\naws_secret_access_key={secret}\n")


@pytest.mark.parametrize(
    ("config", "option", "host"),
    [
        ("", "", "store.example/models"),
        ("virtual", "", "models.store.example"),
        ("path", "", "store.example/models"),
        ("", "virtual", "models.store.example"),
        ("virtual", "path", "store.example/models"),
    ],
)
def test_the_bucket_stands_where_the_store_expects_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: str, option: str, host: str
) -> None:
    """As the option says, else the AWS config, else in the path."""
    text = f"[default]\ns3 =\n    addressing_style = {config}\n" if config else ""
    (tmp_path / "config").write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    repository = open_repository(
        "s3://models", endpoint_url="https://store.example", region=REGION, access_key="k",
        secret_key="s", addressing_style=option,
    )  # fmt: skip
    source = repository.blob_sources("0" * 64, 1)
    assert isinstance(source, UrlSource)
    assert source.url.startswith(f"https://{host}/blobs/")


def test_an_addressing_style_that_there_is_not_is_named() -> None:
    """Also for a folder, which has none."""
    for url in ("s3://models", "file:///models"):
        with pytest.raises(ConfigError, match=r"S3_ADDRESSING_STYLE: 'dns'"):
            open_repository(url, addressing_style="dns")


async def test_the_requester_pays_if_told_so(
    cache: BlobCache, proxy: Proxy, weed: Store, prefix: str, blob: FileEntry
) -> None:
    """Every request says it, downloads too, and their signature covers it."""
    repository = open_repository(
        f"s3://{weed.bucket}/{prefix}", endpoint_url=proxy.url, region=REGION,
        access_key=weed.access_key, secret_key=weed.secret_key, requester_pays=True,
    )  # fmt: skip
    await asyncio.to_thread(repository.put_manifest, "tabby", 1, b"{}")
    assert await asyncio.to_thread(repository.list_all)
    await cache.ensure(repository, [blob])
    said = [request.headers.get("x-amz-request-payer") for request in proxy.requests]
    assert set(said) == {"requester"}
    assert "request-payer" in proxy.blob_requests[0].query["X-Amz-SignedHeaders"]
