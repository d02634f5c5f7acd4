"""Whose certificates are trusted of a store: one answer for every client that talks to it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from shared.errors import ConfigError, Forbidden

_OTHERS = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_MOST_CAUSES = 12


class CertificateRefused(Forbidden):
    """The store's certificate is not trusted here, and will not be a moment later."""


def ca_file(session: Any) -> str | None:
    """The file of certificates: the first that is set of AWS_CA_BUNDLE or the profile's
    `ca_bundle`, REQUESTS_CA_BUNDLE and SSL_CERT_FILE; None if none is. `session` is botocore's.
    ConfigError, naming the setting, if it is not a file of certificates."""
    for name in _OTHERS:  # botocore reads these for us as it reads its own
        session.session_var_map[name] = (None, name, None, None)
    for name in ("ca_bundle", *_OTHERS):
        if path := session.get_config_variable(name):
            _check("AWS_CA_BUNDLE or ca_bundle" if name == "ca_bundle" else name, path)
            return str(path)
    return None


@cache
def context_of(path: str) -> ssl.SSLContext:
    """The TLS context that trusts the certificates of `path`; one for each path."""
    return ssl.create_default_context(cafile=path)


def refused_certificate(what: str, error: BaseException) -> CertificateRefused | None:
    """The error to raise if `error` came of a certificate that is not trusted, else None."""
    for cause in _causes(error):
        said = getattr(cause, "verify_message", "")  # aiohttp's error of this class has none
        if isinstance(cause, ssl.SSLCertVerificationError) and said:
            reason = said.partition(",")[0]  # a host may follow
            return CertificateRefused(
                f"{what}: the store's certificate is not trusted ({reason}); AWS_CA_BUNDLE names "
                "the file of certificates to trust"
            )
    return None


def _check(name: str, path: str) -> None:
    if not Path(path).is_file():
        raise ConfigError(f"{name}: the file of certificates does not exist")
    try:
        context_of(path)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"{name}: the file holds no certificates") from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and those behind it: as causes, or wrapped as arguments."""
    found: list[BaseException] = [error]
    for at in range(_MOST_CAUSES):
        if at == len(found):
            return
        one = found[at]
        yield one
        behind = (
            one.__cause__,
            one.__context__,
            getattr(one, "certificate_error", None),
            *one.args,
        )
        found += [cause for cause in behind if isinstance(cause, BaseException)]
