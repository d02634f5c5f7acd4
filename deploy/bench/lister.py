"""Reads the lists of a gateway from end to end: `python -m` this module does so until it is ended.

A process of its own, which parses nothing but where the next page begins: it shares the cores with
what is measured.
"""

from __future__ import annotations

import http.client
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

from deploy.bench.measure import BenchError
from deploy.local.child import Child
from deploy.local.folders import CODE
from deploy.local.processes import start
from router.rest.endpoints.listings import NEXT

LISTS = ("/v2/models", "/v2/residency")
LONGEST_S = 60.0  # for a page
_NEXT = re.compile(rb'"next":"([A-Za-z0-9_.-]+)"')
_TAIL = 1000  # bytes at the end of a page, where its `next` is


def read_all(connection: http.client.HTTPConnection, path: str) -> tuple[int, int]:
    """Page after page to the end; how many they are, and their bytes."""
    pages = size = 0
    after = ""
    while True:
        connection.request("GET", f"{path}?after={after}" if after else path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise BenchError(f"{path}: {answer.status} {body[:200]!r}")
        pages, size = pages + 1, size + len(body)
        found = _NEXT.search(body[-_TAIL:])
        after = answer.headers.get(NEXT, found[1].decode() if found else "")
        if not after:
            return pages, size


def connect(url: str) -> http.client.HTTPConnection:
    """A connection to a gateway."""
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=LONGEST_S)


@contextmanager
def listing(url: str, paths: Sequence[str], log: Path) -> Iterator[None]:
    """Lists are read all the time in the block. BenchError if that ended before it."""
    command = [sys.executable, "-m", "deploy.bench.lister", url, *paths]
    child: Child = start(command, name="lister", log=log, cwd=CODE)
    try:
        yield
        if child.returncode is not None:
            raise BenchError(f"the lists beside ended: {log.read_text()[-500:]}")
    finally:
        child.kill()


def main() -> None:
    """The lists in turn, for ever."""
    url, *paths = sys.argv[1:]
    connection = connect(url)
    for path in cycle(paths):
        read_all(connection, path)


if __name__ == "__main__":
    main()
