"""Where processor time and memory go: by process and thread from /proc, by script from Redis."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import redis

from deploy.bench.measure import BenchError
from shared import script_runner

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_LOG_LENGTH = 1_000_000
_SLOWER_THAN, _MAX_LEN = "slowlog-log-slower-than", "slowlog-max-len"


def thread_seconds(pid: int) -> dict[int, float]:
    """Processor seconds, user and system, by thread of a running process. Linux only."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        # The second field is the name in brackets, which may hold spaces and brackets.
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        found[int(task.name)] = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return found


@contextmanager
def measured(processes: Mapping[str, int]) -> Iterator[dict[str, float]]:
    """Processor seconds that `processes` (ids by name) spend within the block, filled in at its
    end: under a process's name its main thread's, those of its other threads beside it."""
    before = {name: thread_seconds(pid) for name, pid in processes.items()}
    spent: dict[str, float] = {}
    yield spent
    for name, pid in processes.items():
        used = {
            thread: seconds - before[name].get(thread, 0.0)
            for thread, seconds in thread_seconds(pid).items()
        }
        spent[name] = used.pop(pid)
        if others := sum(used.values()):
            spent[f"{name}, other threads"] = others


@dataclass
class Calls:
    """How often Redis ran something, and for how many microseconds in all."""

    calls: int = 0
    usec: int = 0


@contextmanager
def logged_calls(client: redis.Redis) -> Iterator[dict[str, Calls]]:
    """By script name, or command name outside scripts: all that Redis runs in the block.

    From the slow log with its threshold at nothing, which itself costs time: measure nothing else
    in the same block.
    """
    before = client.config_get("slowlog-*")
    client.config_set(_MAX_LEN, _LOG_LENGTH)
    client.slowlog_reset()
    client.config_set(_SLOWER_THAN, 0)
    found: dict[str, Calls] = defaultdict(Calls)
    try:
        yield found
        client.config_set(_SLOWER_THAN, -1)
        names = _script_names()
        for entry in client.slowlog_get(_LOG_LENGTH):
            calls = found[_name_of(entry["command"], names)]
            calls.calls += 1
            calls.usec += entry["duration"]
    finally:
        for name in (_SLOWER_THAN, _MAX_LEN):
            client.config_set(name, before[name] or "")
        client.slowlog_reset()


def _name_of(command: bytes, names: Mapping[str, str]) -> str:
    words = command.split(b" ", 2)
    if words[0].upper() == b"EVALSHA" and len(words) > 1:
        sha = words[1].decode()
        return f"{names.get(sha, 'another script')}.lua"
    return words[0].decode(errors="replace").upper()


def _script_names() -> dict[str, str]:
    """Names by SHA-1, as EVALSHA knows them."""
    folder = Path(script_runner.__file__).parent / "lua"
    names = [path.stem for path in folder.glob("*.lua")]
    return {
        hashlib.sha1(script_runner.load_source(name).encode()).hexdigest(): name for name in names
    }


_KIB = 1024


@dataclass(frozen=True)
class Memory:
    """Bytes in memory of one process: all of them, those that no file backs, and its part of all
    where each shared page is divided by how many share it."""

    resident: int
    anonymous: int
    proportional: int


def memory_of(pid: int) -> Memory:
    """The memory of a running process; BenchError if it does not run."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError as error:
        raise BenchError(f"process {pid} does not run any more") from error
    rows = [line.split() for line in text.splitlines()[1:]]
    kib = {row[0].rstrip(":"): int(row[1]) for row in rows}
    return Memory(kib["Rss"] * _KIB, kib["Anonymous"] * _KIB, kib["Pss"] * _KIB)


def slope(values: Sequence[float]) -> float:
    """By how much `values` grow from one to the next: the least squares line through them."""
    if len(values) < 2:
        raise BenchError(f"a slope needs two values, there is {len(values)}")
    return float(np.polyfit(np.arange(len(values)), values, 1)[0])
