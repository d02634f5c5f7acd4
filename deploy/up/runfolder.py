"""Where a run keeps its state, so that no two runs share a Redis, an S3 server or a port file.

The first run of a checkout owns `.warmroute/` and finds there what the last one left (a Redis that
remembers, a repository already filled). A second run beside it takes `.warmroute/run-2/`, a third
`run-3`: numbered rather than named by process id, so that they are found and used again instead of
piling up. A lock that the system drops with its process says which are taken. Downloads, made
samples and the disk cache are shared by all: each of these is safe to share.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CODE = Path(__file__).resolve().parents[2]
MOST_RUNS = 64


def state_folder(code: Path, here: Path) -> Path:
    """`.warmroute` of the checkout that this code stands in; where it was installed as a package,
    which is no place for state, that of the current folder."""
    return (code if (code / "pyproject.toml").exists() else here) / ".warmroute"


STATE = state_folder(CODE, Path.cwd())


class TooManyRuns(Exception):
    """All numbered folders are taken."""


@dataclass(frozen=True)
class RunFolder:
    """`state` is of the checkout, `own` of this run alone (the same for the first run)."""

    state: Path
    own: Path

    @property
    def redis(self) -> Path:
        return self.own / "redis"

    @property
    def s3(self) -> Path:
        return self.own / "s3"

    @property
    def env_file(self) -> Path:
        return self.own / "env"

    @property
    def requests(self) -> Path:
        return self.own / "requests"

    @property
    def cache(self) -> Path:
        return self.state / "cache"

    @property
    def samples(self) -> Path:
        return self.state / "samples"

    @property
    def wheels(self) -> Path:
        return self.state / "wheels"


@contextmanager
def run_folder(state: Path) -> Iterator[RunFolder]:
    """The first folder that no other run holds, held until the end of the block."""
    for number in range(1, MOST_RUNS + 1):
        own = state if number == 1 else state / f"run-{number}"
        own.mkdir(parents=True, exist_ok=True)
        with (own / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield RunFolder(state, own)
            return
    raise TooManyRuns(f"{MOST_RUNS} runs of this checkout are up already")
