"""Folders that one process at a time may use: those of a server's data, and those of a run.

The first run of a checkout owns `.warmroute/` and finds there what the last one left (a Redis with
its data, a repository that is filled). A second run beside it takes `.warmroute/run-2/`, a third
`run-3`: numbered rather than named by process id, so that they are found and used again instead of
piling up. Downloads, samples and the disk cache are safe to share, and shared by all runs.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from shared.errors import ConfigError

CODE = Path(__file__).resolve().parents[2]
MOST_RUNS = 64
STILL_STOPPING_S = 15.0
_FILE = "lock"


def state_folder(code: Path, here: Path) -> Path:
    """`.warmroute` of the checkout that this code stands in; of the current folder if the code was
    installed as a package."""
    return (code if (code / "pyproject.toml").exists() else here) / ".warmroute"


STATE = state_folder(CODE, Path.cwd())
SAMPLES, WHEELS = STATE / "samples", STATE / "wheels"


@contextmanager
def folder_lock(folder: Path) -> Iterator[int]:
    """Lock `folder` (made if need be); gives the descriptor of the lock file.

    A server that inherits the descriptor holds the lock until it ends, whatever becomes of the
    process that started it: two servers writing one append-only file would destroy it. ConfigError
    if the folder is locked.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{folder}: another process is using this folder") from error
        yield fd
    finally:
        os.close(fd)


@retry(
    retry=retry_if_exception_type(ConfigError),
    wait=wait_fixed(0.1),
    stop=stop_after_delay(STILL_STOPPING_S),
    reraise=True,
)
def wait_unlocked(folder: Path) -> None:
    """Return once `folder` is not locked: the server of a run that was killed may still be
    stopping. ConfigError if that takes longer than STILL_STOPPING_S."""
    with folder_lock(folder):
        pass


@dataclass(frozen=True)
class RunFolder:
    """`state` belongs to the checkout, `own` to this run alone (the same for the first run)."""

    state: Path
    own: Path

    @property
    def env_file(self) -> Path:
        """The settings of the run, for other shells to source."""
        return self.own / "env"

    @property
    def requests(self) -> Path:
        """Example requests."""
        return self.own / "requests"

    @property
    def cache(self) -> Path:
        """The disk cache of the workers."""
        return self.state / "cache"


@contextmanager
def run_folder(state: Path) -> Iterator[RunFolder]:
    """The first folder that no other run holds, held until the end of the block."""
    for number in range(1, MOST_RUNS + 1):
        own = state if number == 1 else state / f"run-{number}"
        with ExitStack() as held:
            try:
                held.enter_context(folder_lock(own))
            except ConfigError:
                continue
            yield RunFolder(state, own)
            return
    raise ConfigError(f"{MOST_RUNS} runs of this checkout are up already: stop one of them")
