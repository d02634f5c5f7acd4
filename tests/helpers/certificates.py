"""A certificate authority of a test's own, and a server's certificate by it."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass
class Authority:
    """`ca`: the file to trust. `context`: of a server at 127.0.0.1; it counts handshakes."""

    folder: Path
    ca: Path = field(init=False)
    context: ssl.SSLContext = field(init=False)
    handshakes: int = 0

    def __post_init__(self) -> None:
        root, name = ec.generate_private_key(ec.SECP256R1()), _named("a test's authority")
        own = _builder(name, name, root.public_key(), is_authority=True).sign(root, hashes.SHA256())
        key = ec.generate_private_key(ec.SECP256R1())
        host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        server = _builder(_named("store"), name, key.public_key(), is_authority=False)
        signed = server.add_extension(host, critical=False).sign(root, hashes.SHA256())
        self.ca, chain = self.folder / "ca.pem", self.folder / "server.pem"
        pem = serialization.Encoding.PEM
        self.ca.write_bytes(own.public_bytes(pem))
        private = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain.write_bytes(private + signed.public_bytes(pem))
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(chain)
        self.context.sni_callback = self._count

    def _count(self, *_: object) -> None:
        self.handshakes += 1


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
