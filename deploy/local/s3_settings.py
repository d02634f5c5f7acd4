"""The settings of the embedded S3, and what it keeps from one start to the next.

It gets its own credentials; nothing it offers is reached from beyond loopback; what a local cluster
does not use (web interface, WebDAV, table catalogues, telemetry) is off.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from deploy.local.ports import LOOPBACK, free_ports, is_free
from shared.errors import ConfigError

_ADMIN_GRPC_ABOVE = 10_000  # its own worker dials this port, whatever admin.port.grpc says
_SERVICES = ("master", "volume", "filer", "s3")
_FILE = "account.json"


class Account(msgspec.Struct, frozen=True):
    """Stored with mode 0600 beside the data."""

    access_key: str
    secret_key: str
    ports: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Account({self.access_key})"

    def save_ports(self, folder: Path, ports: Mapping[str, int]) -> None:
        """Remember the ports that worked."""
        if dict(ports) != self.ports:
            _save(folder, msgspec.structs.replace(self, ports=dict(ports)))


def load_or_make_account(folder: Path) -> Account:
    """The account of the store in `folder`, made at its first start. ConfigError if unreadable."""
    (folder / "data").mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=Account)
    except FileNotFoundError:
        account = Account(f"warmroute{secrets.token_hex(6)}", secrets.token_urlsafe(30))
        _save(folder, account)
        return account
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{folder / _FILE} cannot be read: remove the folder {folder}") from error


def options(ports: Mapping[str, int], bucket: str) -> list[str]:
    """The command line of `weed mini`: only what S3 needs, on loopback."""
    settings = {
        "dir": ".",  # a comma in an absolute path would make two folders of it
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        "bucket": bucket,
        "admin.ui": "false",
        "webdav": "false",
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
        "s3.autoCreateBucket": "false",  # as on AWS: a misspelt bucket is an error
        "master.telemetry": "false",
        "volume.preStopSeconds": "0",
        **{name: str(port) for name, port in ports.items()},
    }
    return [f"-{name}={value}" for name, value in settings.items()]


def environment(folder: Path, account: Account) -> dict[str, str]:
    """Nothing of ours but PATH: it would read AWS_*, S3_* and the user's own SeaweedFS settings."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "AWS_ACCESS_KEY_ID": account.access_key,
        "AWS_SECRET_ACCESS_KEY": account.secret_key,
        # Without a limit it grew to 900 MB after some downloads; with it, to 170.
        "GOMEMLIMIT": "300MiB",
        "GOGC": "50",
    }


def choose_ports(last: Mapping[str, int]) -> dict[str, int]:
    """The ports of last time if all are free, so that URLs stay; else others."""
    if last and all(is_free(port) for port in last.values()):
        return dict(last)
    admin = free_ports(1, also_free_above=_ADMIN_GRPC_ABOVE)[0]
    names = [name for service in _SERVICES for name in _both_ports(service)]
    others = [port for port in free_ports(len(names) + 2) if abs(port - admin) % 10_000]
    ports = dict(zip(names, others, strict=False))
    return {**ports, "admin.port": admin, "admin.port.grpc": admin + _ADMIN_GRPC_ABOVE}


def _save(folder: Path, account: Account) -> None:
    """Replace the file as a whole; it is private from its first byte."""
    aside = folder / f"{_FILE}.new"
    aside.unlink(missing_ok=True)
    aside.touch(mode=0o600, exist_ok=False)
    aside.write_bytes(msgspec.json.encode(account))
    aside.replace(folder / _FILE)


def _both_ports(service: str) -> Iterator[str]:
    yield f"{service}.port"
    yield f"{service}.port.grpc"
