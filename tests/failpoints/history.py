"""What really happened, as Redis tells it: each time a request's record was given a terminal state.

`MONITOR` shows every command, those that scripts run too. So a request that ended twice is seen,
although the second outcome would lie over the first.
"""

from __future__ import annotations

import re
from collections import Counter
from threading import Thread

import redis

from tests.helpers.wait import block_until
from tests.judge.outcomes import TERMINAL

_ENDED = re.compile(rf"HSET \S+:request:([0-9a-f]{{32}}) status (?:{'|'.join(TERMINAL)}) ")
MARK = "failpoints-history"


class History:
    """Watches one Redis from `start` to `close`."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=None)
        self._monitor = self._client.monitor()
        self._thread = Thread(target=self._watch, name="history", daemon=True)
        self._sent = self._seen = 0
        self.ends: Counter[str] = Counter()

    def start(self) -> None:
        """From here on nothing is missed."""
        self._monitor.__enter__()
        self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self._client.delete(f"{MARK}:end")
        self._thread.join(20)
        self._monitor.__exit__(None, None, None)
        self._client.close()

    def catch_up(self) -> None:
        """Return when all that has happened by now has been seen."""
        self._sent += 1
        self._client.delete(f"{MARK}:{self._sent}")
        block_until(lambda: self._seen >= self._sent)

    def _watch(self) -> None:
        while True:
            command = self._monitor.next_command()["command"]
            if command == f"DEL {MARK}:end":
                return
            self._seen += command.startswith(f"DEL {MARK}:")
            if found := _ENDED.match(command):
                self.ends[found[1]] += 1
