"""`python -m tests.fuzz.pushes --count 2000 --seed 1`: files at random to `warmroute push`.

Each push runs in a process of its own, forked from this one, so that one which ends it is seen. It
may publish a whole version, or say in a sentence why not, and then nothing is there.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from deploy.cli.main import main as warmroute
from shared.errors import WarmrouteError
from shared.manifest import parse
from shared.repository import Repository, open_repository
from tests.fuzz.files import Pushes

LIMIT_S = 60
SENTENCE = ("warmroute: ", "warmroute push: error: ")  # ours, and the command line's


@dataclass
class Found:
    """What was seen: how often each exit status, and what must not be."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def fuzz(folder: Path, count: int, seed: int) -> Found:
    """Push `count` things into a repository below `folder`."""
    (folder / "repository").mkdir()
    repository, found = open_repository((folder / "repository").as_uri()), Found()
    made = Pushes(folder, seed)
    torch.set_num_threads(1)
    for number in range(count):
        options, name = made.next(), f"model-{number}"
        status, said = push([name, *options], repository, folder)
        found.statuses[status] += 1
        for why in faults_of(name, status, said, repository):
            found.faults.append(f"{why}: push {' '.join(options)}\n{said[-600:]}")
    return found


def push(arguments: list[str], repository: Repository, folder: Path) -> tuple[int, str]:
    """The exit status (-N: signal N) and what was said."""
    log = folder / "said.txt"
    child = os.fork()
    if child == 0:
        os._exit(_push(arguments, repository, log))
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return ended, log.read_text(errors="replace")


def _push(arguments: list[str], repository: Repository, log: Path) -> int:
    """In the child: a hang ends it with SIGALRM, and a stack is written as any program does."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    signal.alarm(LIMIT_S)
    try:
        return warmroute(["push", *arguments, "--repository", repository.url])
    except SystemExit as error:
        return int(error.code or 0) if not isinstance(error.code, str) else 1
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode())
        return 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def faults_of(name: str, status: int, said: str, repository: Repository) -> Iterator[str]:
    """What is wrong with a push that ended."""
    if status not in (0, 1, 2):
        yield f"ended with {status}"
    if "Traceback" in said:
        yield "a traceback"
    if status in (1, 2) and not any(words in said for words in SENTENCE):
        yield "no sentence"
    versions = repository.list_versions(name)
    if status != 0 and versions:
        yield "refused, and published"
    if status == 0:
        yield from _half(name, versions, repository)


def _half(name: str, versions: list[int], repository: Repository) -> Iterator[str]:
    if len(versions) != 1:
        yield f"done, and versions {versions}"
        return
    try:
        manifest = parse(
            repository.read_manifest(name, versions[0]), name=name, version=versions[0]
        )
    except WarmrouteError as error:
        yield f"published, and unreadable: {error}"
        return
    for entry in manifest.files:
        if not repository.has_blob(entry.sha256, entry.size):
            yield f"published without {entry.name}"


def main() -> int:
    """The pushes, and what was found; 1 if that is anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.pushes", description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = fuzz(Path(folder), options.count, options.seed)
    print(f"{options.count} pushes, seed {options.seed}: {dict(found.statuses)}")
    print("\n".join(found.faults[:40]) or "no fault")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
