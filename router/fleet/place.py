"""Places between the pages of a list, as text for its clients: the `next` of a page is the `after`
of the one that follows. They mean nothing to clients, and are checked when they come back."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from typing import NamedTuple

from shared.errors import InvalidInput

LONGEST = 400  # characters
LARGEST = 1 << 64  # of a cursor of Redis


class Place(NamedTuple):
    """What a page ends with. `kind`: one letter, of which list; `text`: the last name, or a cursor
    of Redis."""

    kind: str
    text: str

    def __str__(self) -> str:
        raw = base64.urlsafe_b64encode((self.kind + self.text).encode())
        return raw.decode().rstrip("=")

    @property
    def number(self) -> int:
        """The cursor. InvalidInput if it is none."""
        if not re.fullmatch("[0-9]{1,20}", self.text) or int(self.text) >= LARGEST:
            raise refused()
        return int(self.text)

    @classmethod
    def parse(cls, text: str, kinds: Collection[str]) -> Place | None:
        """The place that a client sends back; None for ''. InvalidInput for any other text."""
        if not text:
            return None
        try:
            if len(text) > LONGEST:
                raise refused()
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            found = raw.decode()
        except (binascii.Error, ValueError):
            raise refused() from None
        if found[:1] not in kinds or not found.isprintable():
            raise refused()
        return cls(found[0], found[1:])


def refused() -> InvalidInput:
    """The error for a place that no page gave."""
    return InvalidInput("after: want the `next` of a page of this list; without it: the first page")
