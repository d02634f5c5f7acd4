"""What the index of the repository says, kept up to date: a push is seen within a second or two.

    every second: GET head (304 while nothing has changed) -> LIST the changes, GET the base
    seldom:       list the repository itself; what differs becomes a new base

The head costs a gateway 3,600 GETs an hour (about a dollar a month), and no gateway needs another
for it. The listing finds what was copied or deleted by hand, or pushed by an older release. Who
lists says so first (`walked`), so that the gateways of one repository do it in turn; those that may
not write there list it each for itself. All calls block.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping

from router.catalog.listing import Listing
from shared import clock
from shared.errors import BlobMissing, Corrupt, Forbidden, RepositoryError
from shared.repository import Listed, Repository
from shared.repository.index import (
    BASE,
    CHANGES,
    HEAD,
    WALKED,
    Base,
    applied,
    decode,
    encode,
    now_ms,
    written_ms,
)

log = logging.getLogger(__name__)

# Between two listings: each thousand keys are a LIST, and so they are 80 an hour at most.
PER_PAGE_S, PAGE = 45.0, 1000
MOST_CHANGES = 200  # then they are put into the base
OLD_MS = 3_600_000  # a change that is older is in every base that a listing under way could write
MOST_DROPPED = 500  # of those at a time


class IndexView:
    """The index as it was at the last look; `listing` is None if it cannot be used."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._notes = repository.notes
        self._head = self._base_tag = ""
        self._base: Base | None = None
        self._may_write = True
        self._looked_at = self._walked_at = float("-inf")
        self._versions = 0
        self.listing: Listing | None = None

    def age_s(self) -> float:
        """How long ago it was known to be up to date."""
        return clock.monotonic() - self._looked_at

    def look(self) -> set[str]:
        """Read what has changed; the names of the models of which anything has. RepositoryError if
        the store does not answer: then what is known stays."""
        began, before = clock.monotonic(), self.listing or Listing(())
        try:
            head = self._notes.read(HEAD, self._head)
            if head.raw is not None:
                self._head = head.tag  # whatever follows: not to be tried again each second
                self.listing = self._read()
                self._versions = _count(self.listing)
        except (BlobMissing, Forbidden, Corrupt) as error:
            if self.listing is not None:
                log.warning("%s; the repository is listed instead", error.message)
            self.listing, self._base = None, None
            return set()
        except RepositoryError:
            self._head = ""
            raise
        if self.listing is None:
            return set()
        self._looked_at = began
        return set() if head.raw is None else _differences(before, self.listing)

    def _read(self) -> Listing:
        """The base first, as without it there is no use for the changes; and once more after them,
        as who replaces it deletes old changes."""
        self._read_base()
        changes = self._notes.list(CHANGES)
        base = self._read_base()
        new = [name for name in changes if name not in base.included]
        return Listing(applied(base.rows, new).values())

    def _read_base(self) -> Base:
        found = self._notes.read(BASE, self._base_tag if self._base is not None else "")
        if found.raw is not None or self._base is None:
            self._base, self._base_tag = decode(found.raw or b""), found.tag
        return self._base

    def every_s(self) -> float:
        """How long after a listing the next one is due."""
        return PER_PAGE_S * max(1, -(-self._versions // PAGE))

    def is_due(self) -> bool:
        """Whether this gateway should list the repository now. Asks who else has, if so."""
        if clock.monotonic() - self._walked_at < self.every_s():
            return False
        if self.listing is None or not self._may_write:
            return True
        self._walked_at = clock.monotonic()
        try:
            last_ms = int(json.loads(self._notes.read(WALKED).raw or b"0"))
        except (RepositoryError, ValueError, TypeError):
            return True
        ago_s = (now_ms() - last_ms) / 1000
        if not 0 <= ago_s < self.every_s():
            return True
        self._walked_at -= ago_s
        return False

    def walk(self) -> Listing:
        """List the repository, and write a new base if it differs from the index, or many changes
        are behind the old one. RepositoryError if it cannot be listed."""
        self._walked_at = clock.monotonic()
        self._try_to_put(WALKED, str(now_ms()).encode())
        try:
            before = self._notes.list(CHANGES)
        except RepositoryError:
            before = []
        known = self.listing
        found = Listing(self._repository.list_all())
        self._versions = _count(found)
        if known is not None:
            found = found.with_required_of(known)
        if known is None or found != known or len(before) > MOST_CHANGES:
            self._write(found, before)
        return found

    def _write(self, found: Listing, included: list[str]) -> None:
        if not self._try_to_put(BASE, encode(found.values(), included)):
            return
        old = [name for name in included if written_ms(name) < now_ms() - OLD_MS]
        for name in old[:MOST_DROPPED]:
            try:
                self._notes.delete(name)
            except RepositoryError:
                break
        self._try_to_put(HEAD, secrets.token_hex(16).encode())

    def _try_to_put(self, name: str, raw: bytes) -> bool:
        try:
            self._notes.put(name, raw)
        except RepositoryError as error:
            if self._may_write:
                log.info("%s; this gateway lists the repository for itself", error.message)
            self._may_write = not isinstance(error, Forbidden)
            return False
        self._may_write = True
        return True


def _differences(before: Mapping[str, Listed], after: Mapping[str, Listed]) -> set[str]:
    """The names whose rows are not the same."""
    found = {name for name, row in after.items() if before.get(name) != row}
    return found.union(before.keys() - after.keys())


def _count(listing: Listing) -> int:
    return sum(len(row.versions) for row in listing.values())
