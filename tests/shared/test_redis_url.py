"""Every connection reads REDIS_URL alike: TLS, client certificates, sockets; and faults are found
before anything connects, without showing a secret."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import redis
import redis.exceptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.channel import Channel
from shared.connection import open_redis
from shared.redis_url import faults
from shared.setting import CellConfig, mask_url, read
from tests.helpers.cell import Cell

SECRET = "F6t/M#1@x?y"


def certificate(folder: Path, name: str, host: str, signer: tuple | None = None) -> tuple:
    """A key and a certificate in files; of an authority if no `signer` is given."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    issuer = subject if signer is None else signer[1].subject
    names = [x509.DNSName(host)]
    with suppress(ValueError):
        names = [x509.IPAddress(ipaddress.ip_address(host))]
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key if signer is None else signer[0], hashes.SHA256())
    )  # fmt: skip
    (folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )  # fmt: skip
    return key, made


@asynccontextmanager
async def tls_in_front(cell: Cell, folder: Path, host: str, demand: bool) -> AsyncIterator[int]:
    """A port that speaks TLS and passes on to Redis; `demand`: a certificate of the client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{host}.crt", folder / f"{host}.key")
    if demand:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.crt")
    where = urlsplit(cell.url)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ssl.SSLError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if where.scheme == "unix":
            far = await asyncio.open_unix_connection(where.path)
        else:
            far = await asyncio.open_connection(where.hostname, where.port)
        await asyncio.gather(copy(reader, far[1]), copy(far[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """Of an authority, of two servers and of a client."""
    authority = certificate(tmp_path, "ca", "ca")
    for name, host in (("127.0.0.1", "127.0.0.1"), ("elsewhere", "redis.example"), ("client", "c")):
        certificate(tmp_path, name, host, authority)
    return tmp_path


async def kinds_of_connection(url: str) -> list[bool]:
    """Whether each kind of client that we use connects: of scripts, of reads, of RQ."""
    found = []
    channel, client = Channel(url), open_redis(url)
    for call in (channel.execute_command("PING"), client.ping()):
        try:
            found.append(bool(await call))
        except redis.exceptions.RedisError:
            found.append(False)
    await channel.aclose()
    await client.aclose()

    def of_rq() -> bool:
        with redis.Redis.from_url(url, protocol=2, socket_connect_timeout=30) as rq:
            return bool(rq.ping())

    try:
        found.append(await asyncio.to_thread(of_rq))
    except redis.exceptions.RedisError:
        found.append(False)
    return found


MATRIX = {
    "a private authority": ("127.0.0.1", False, "ssl_ca_certs={ca}", True),
    "an unknown authority": ("127.0.0.1", False, "", False),
    "another name": ("elsewhere", False, "ssl_ca_certs={ca}", False),
    "another name, not compared": (
        "elsewhere", False, "ssl_ca_certs={ca}&ssl_check_hostname=false", True,
    ),
    "nothing is checked": ("elsewhere", False, "ssl_cert_reqs=none", True),
    "no certificate of ours": ("127.0.0.1", True, "ssl_ca_certs={ca}", False),
    "a certificate of ours": (
        "127.0.0.1", True, "ssl_ca_certs={ca}&ssl_certfile={crt}&ssl_keyfile={key}", True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MATRIX)
async def test_tls_is_the_same_on_every_connection(
    cell: Cell, certificates: Path, case: str
) -> None:
    """All of them connect, or none."""
    host, demand, options, connects = MATRIX[case]
    files = {
        "ca": certificates / "ca.crt", "crt": certificates / "client.crt",
        "key": certificates / "client.key",
    }  # fmt: skip
    given = options.format(**{name: quote(str(path)) for name, path in files.items()})
    async with tls_in_front(cell, certificates, host, demand) as port:
        url = f"rediss://127.0.0.1:{port}/0?{given}"
        assert faults(url) == []
        assert await kinds_of_connection(url) == [connects] * 3


async def test_a_socket_in_the_file_system_serves_every_connection(
    cell: Cell, tmp_path: Path
) -> None:
    """With a database of its own."""
    path, where = tmp_path / "redis.sock", urlsplit(cell.url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far = await asyncio.open_connection(where.hostname, where.port)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(1 << 16):
                sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, far[1]), copy(far[0], writer))

    server = await asyncio.start_unix_server(serve, path)
    assert await kinds_of_connection(f"unix://{path}?db=3") == [True] * 3
    server.close()


SOUND = [
    "redis://h", "redis://h/", "redis://h:6379/15", "redis://[::1]:6379/0", "rediss://h",
    f"redis://user:{quote(SECRET, safe='')}@h:6379/3", f"redis://h?password={quote(SECRET)}",
    "rediss://h:1/0?ssl_cert_reqs=none", "unix:///run/redis.sock?db=3", "redis://:@h",
]  # fmt: skip
BROKEN = {
    f"redis://:{SECRET}@h:6379/0": "percent-encoded",
    f"redis://user:{SECRET}@h:6379/0": "percent-encoded",
    "redis://:6#6F6t@h:6379/0": "percent-encoded",
    "redis://:6?6F6t@h:6379/0": "percent-encoded",
    "redis://:6/6F6t@h:6379/0": "percent-encoded",
    "redis://u@x:6?6F6t@h/0": "percent-encoded",
    "redis://[F6t@h": "percent-encoded",
    "redis://h/abc": "database", "redis://h:1/0/1": "database", "redis://h?db=x": "db",
    "redis://h?sockets=1": "'sockets'", "redis://h?db=1&db=2": "twice",
    "redis://h?ssl_cert_reqs=none": "needs rediss://",
    "rediss://h?ssl_cert_reqs=CERT_NONE": "none, optional or required",
    "rediss://h?ssl_check_hostname=maybe": "true or false",
    "rediss://h?ssl_ca_certs=/nowhere/ca.pem": "missing",
    "http://h": "redis://host:port/db", "redis:h": "redis://host:port/db", "unix://": "unix:///path",
}  # fmt: skip


@pytest.mark.parametrize("url", SOUND)
def test_a_sound_url_has_no_fault(url: str) -> None:
    assert faults(url) == []


@pytest.mark.parametrize("url", BROKEN)
def test_a_fault_is_named_and_shows_no_secret(url: str) -> None:
    """One line with the name of the setting, as every wrong setting has."""
    from shared.errors import ConfigError

    with pytest.raises(ConfigError) as raised:
        read(CellConfig, {"REDIS_URL": url, "MODEL_REPOSITORY": "file:///m"})
    message = raised.value.message
    assert BROKEN[url] in message and "REDIS_URL: " in message
    assert "F6t" not in message and "\n" not in message


def test_a_url_for_people_has_no_password() -> None:
    """Of either place in it."""
    for url in SOUND:
        assert "F6t" not in mask_url(url)
