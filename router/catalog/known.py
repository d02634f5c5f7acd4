"""What a gateway knows of the repository: what requests get, which names are unknown, what failed.

Each has a table of its own, so a flood of unknown names pushes out no model.
"""

from __future__ import annotations

import math
from collections.abc import Set
from typing import NamedTuple

from router.catalog.entries import Entries, Entry
from router.catalog.recent import Recent
from shared import clock
from shared.errors import NotFound, WarmrouteError, from_code

MAX_SERVED = 20_000
MAX_UNKNOWN = 4096
UNKNOWN_S = 5.0  # at most
FAILED_S = 0.5  # until the repository is read again after an error
LATEST = 0
NEVER, ALWAYS = -math.inf, math.inf

Key = tuple[str, int]


class Kept(NamedTuple):
    """What a request gets until a moment; later it is found again."""

    until: float
    entry: Entry

    @property
    def stale_s(self) -> float:
        """For how long it should have been found again; negative if it is fresh."""
        return clock.monotonic() - self.until


class Known:
    """`ttl_s`: how long the version that a request without one gets is fresh."""

    def __init__(self, entries: Entries, ttl_s: float) -> None:
        self._entries = entries
        self._ttl_s = ttl_s
        self.served: Recent[str, Kept] = Recent(MAX_SERVED)
        self._unknown: Recent[Key, tuple[float, str]] = Recent(MAX_UNKNOWN)
        self._failed: Recent[Key, tuple[float, WarmrouteError]] = Recent(MAX_UNKNOWN)

    def get(self, key: Key) -> Kept | None:
        """What requests get, fresh or not. A named version is always fresh."""
        if key[1] == LATEST:
            return self.served.get(key[0])
        entry = self._entries.kept(*key)
        return None if entry is None else Kept(ALWAYS, entry)

    def raise_if_unknown(self, key: Key) -> None:
        """NotFound if the repository did not have it a moment ago. A new one each time: a raised
        exception holds on to its caller's frames."""
        until, message = self._unknown.get(key) or (NEVER, "")
        if until > clock.monotonic():
            raise NotFound(message)

    def raise_if_failed(self, key: Key) -> None:
        """The error of the last look, if that was a moment ago."""
        until, error = self._failed.get(key) or (NEVER, NotFound(""))
        if until > clock.monotonic():
            raise from_code(error.code, error.message)

    def remember(self, key: Key, entry: Entry, *, stays_open: bool = False) -> None:
        """`stays_open`: the next request looks again, and waits."""
        self._unknown.pop(key)
        if key[1] == LATEST:
            until = NEVER if stays_open else clock.monotonic() + self._ttl_s
            self.served.put(key[0], Kept(until, entry))

    def note_error(self, key: Key, error: BaseException) -> None:
        """A look failed: what is known goes on being served, unless it has left the repository."""
        now = clock.monotonic()
        if isinstance(error, NotFound):
            if key[1] == LATEST:
                self.served.pop(key[0])
            self._unknown.put(key, (now + min(self._ttl_s, UNKNOWN_S), error.message))
            return
        if isinstance(error, WarmrouteError):
            self._failed.put(key, (now + FAILED_S, error))
        kept = self.get(key)
        if kept is not None and key[1] == LATEST:
            self.served.put(key[0], Kept(now + FAILED_S, kept.entry))

    def note_changes(self, names: Set[str]) -> None:
        """The repository has changed: the next request for one of these models finds it again,
        beside serving."""
        known = [name for name in self.served if name in names]  # names may be a whole repository
        for name in known:
            kept = self.served.get(name)
            if kept is not None:
                self.served.put(name, Kept(min(kept.until, clock.monotonic()), kept.entry))
        if names:
            for key in [key for key in self._unknown if key[0] in names]:
                self._unknown.pop(key)

    def make_stale(self, name: str) -> None:
        """The next request for the model waits for the repository."""
        kept = self.served.get(name)
        if kept is not None:
            self.served.put(name, Kept(NEVER, kept.entry))
        self._unknown.pop((name, LATEST))
