"""Waiting entries of the stream door: which to try next, and since when each waits.

They stay in Redis, in this gateway's pending list. It is read page by page, from where the last
page ended, and from its start again.
"""

from __future__ import annotations

from shared import clock

MAX_WAITING = 1000  # beyond it nothing new is read: other gateways, or later
RETRY_S = 0.2


class PendingEntries:
    """The entries that one gateway has read and not placed. A new one begins with all pending."""

    def __init__(self, page: int) -> None:
        self._page = page
        self._after: str | None = "0"
        self._due = 0.0
        self._since: dict[str, float] = {}
        self._found: set[str] = set()

    def __bool__(self) -> bool:
        """Whether anything may wait."""
        return self._after is not None

    def __len__(self) -> int:
        return len(self._since)

    def full(self) -> bool:
        """Whether nothing new may be read."""
        return len(self._since) >= MAX_WAITING

    def pause_s(self) -> float:
        """Until the next page is due."""
        return max(self._due - clock.monotonic(), 0.0)

    def position(self) -> str | None:
        """The entry after which the page that is due begins; None if none is."""
        return self._after if self._after is not None and self.pause_s() == 0 else None

    def waited_s(self, entry: str) -> float:
        """Seconds since this gateway read an entry."""
        now = clock.monotonic()
        return now - self._since.get(entry, now)

    def tried(self, position: str | None, page: list[str], taken: list[bool]) -> None:
        """A page was tried; `taken` says which entries are done."""
        if position is None:
            return
        self.came(page, taken)
        if len(page) == self._page:
            self._after = page[-1]
        else:  # the end of the list: entries that were not found are done
            self._since = {e: self._since[e] for e in self._found}
            self._found = set()
            self._after = "0" if self._since else None
        progress = any(taken[: len(page)])
        self._due = 0.0 if progress else clock.monotonic() + RETRY_S

    def came(self, entries: list[str], taken: list[bool]) -> None:
        """New entries were tried; `taken` says which are done. The others wait."""
        now = clock.monotonic()
        for entry, done in zip(entries, taken, strict=False):
            if done:
                self._since.pop(entry, None)
                self._found.discard(entry)
                continue
            self._since.setdefault(entry, now)
            self._found.add(entry)
            if self._after is None:
                self._after, self._due = "0", now + RETRY_S
