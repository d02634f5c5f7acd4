"""What an embedded S3 keeps from one start to the next: its credentials and its ports."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from shared.errors import ConfigError

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
        raise ConfigError(f"{folder / _FILE}: not readable; remove the folder") from error


def _save(folder: Path, account: Account) -> None:
    """Replace the file as a whole; it is private from its first byte."""
    aside = folder / f"{_FILE}.new"
    aside.unlink(missing_ok=True)
    aside.touch(mode=0o600, exist_ok=False)
    aside.write_bytes(msgspec.json.encode(account))
    aside.replace(folder / _FILE)
