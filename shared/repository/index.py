"""The index of a repository: what models there are, in few reads, without listing their folders.

    _index/changes/<time>-<random>!put!<version>!<required>!<model>    one for each push and delete,
                                                                     empty: its name says it all
    _index/base      all models, as a listing found them, with the changes that it includes
    _index/head      a random text, replaced after each change of the others
    _index/walked    when the repository was listed the last time

No one's write can undo another's: changes are written once, each under a name of its own. The base
is replaced as a whole; it names the changes that were there before its listing began, and the
others are applied to it. So a base that is older, damaged or deleted costs a listing, and nothing
else; what pushes by hand did not note, the next listing finds. A model cannot be called `_index`.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import msgspec

from shared.errors import Corrupt, RepositoryError, WarmrouteError
from shared.manifest import DECODER
from shared.names import VERSION
from shared.repository.base import Listed, Notes, is_model_name

log = logging.getLogger(__name__)

HEAD, BASE, WALKED, CHANGES = "head", "base", "walked", "changes/"
FORMAT = 1
ROWS_AT_ONCE = 500  # on a line of the base: another thread may run between two
MAX_BASE_BYTES = 256 << 20
PUT, DELETED = "put", "del"
_CHANGE = re.compile(r"[0-9]{13}-[0-9a-f]{8}!(put|del)!([1-9][0-9]{0,8})!([ynu])!([^!/]{1,128})")
_MARKS = {True: "y", False: "n", None: "u"}
_REQUIRED = {"y": True, "n": False}


class _Head(msgspec.Struct):
    format: int
    included: list[str] = []


_HEAD = msgspec.json.Decoder(_Head)
_ROWS = msgspec.json.Decoder(list[tuple[str, str, str]])


class Change(NamedTuple):
    """A version that was pushed or deleted. `required`: whether its manifest wants copies without a
    request (preload, min_copies); None if that is not known."""

    what: str
    model: str
    version: int
    required: bool | None = None

    def new_name(self) -> str:
        """A name for its note, which no other has."""
        start = f"{now_ms():013}-{secrets.token_hex(4)}"
        return f"{CHANGES}{start}!{self.what}!{self.version}!{_MARKS[self.required]}!{self.model}"

    @classmethod
    def parse(cls, name: str) -> Change | None:
        """The change that a note of this name is; None if it is of another release, or no note."""
        found = _CHANGE.fullmatch(name.removeprefix(CHANGES))
        if found is None or not is_model_name(found[4]):
            return None
        return cls(found[1], found[4], int(found[2]), _REQUIRED.get(found[3]))


class Base(NamedTuple):
    """All models, and the names of the changes that the listing includes."""

    rows: dict[str, Listed]
    included: frozenset[str]


def pushed(model: str, version: int, raw: bytes) -> Change:
    """The change of a manifest that was put."""
    try:
        required: bool | None = bool(DECODER.decode(raw).residency.least_copies)
    except (msgspec.MsgspecError, WarmrouteError):
        required = None
    return Change(PUT, model, version, required)


def note(notes: Notes, change: Change) -> None:
    """Note a change, which has been made. A failure is logged only: the next listing of the
    repository finds the change."""
    try:
        notes.put(change.new_name(), b"")
        notes.put(HEAD, secrets.token_hex(16).encode())
    except RepositoryError as error:
        log.warning("%s; gateways see the change at their next listing", error.message)


def now_ms() -> int:
    """The time of this host's clock."""
    return time.time_ns() // 1_000_000


def written_ms(change: str) -> int:
    """When a change was written, by its writer's clock. 0 if its name does not say."""
    text = change.removeprefix(CHANGES)[:13]
    return int(text) if text.isdecimal() and text.isascii() else 0


def applied(rows: Mapping[str, Listed], changes: Iterable[str]) -> dict[str, Listed]:
    """The rows after some changes, in order of their names; the models stay sorted by name."""
    found, fresh = dict(rows), False
    for name in sorted(changes):
        change = Change.parse(name)
        if change is not None:
            fresh = fresh or change.model not in found
            row = _after(found.get(change.model) or Listed(change.model, ()), change)
            if row.versions or row.error:
                found[change.model] = row
            else:
                found.pop(change.model, None)
    return dict(sorted(found.items())) if fresh else found


def _after(row: Listed, change: Change) -> Listed:
    versions, required = {*row.versions} - {change.version}, dict(row.required)
    required.pop(change.version, None)
    if change.what == PUT:
        versions.add(change.version)
        if change.required is not None:
            required[change.version] = change.required
    return Listed(row.name, tuple(sorted(versions)), row.error, required)


def encode(rows: Iterable[Listed], included: Collection[str]) -> bytes:
    """The base. Each line is JSON; the last one is the sha256 of those before."""
    lines = [msgspec.json.encode({"format": FORMAT, "included": sorted(included)})]
    left = iter(rows)
    while part := list(islice(left, ROWS_AT_ONCE)):
        lines.append(msgspec.json.encode([_packed(row) for row in part]))
    text = b"\n".join(lines) + b"\n"
    return text + hashlib.sha256(text).hexdigest().encode()


def decode(raw: bytes) -> Base:
    """The base. Corrupt if it is damaged, or of a later format. Rows that cannot be are passed
    over."""
    text, _, digest = raw.rpartition(b"\n")
    text += b"\n"
    if hashlib.sha256(text).hexdigest().encode() != digest:
        raise Corrupt("index of the repository: damaged")
    try:
        head, *lines = text.splitlines()
        start = _HEAD.decode(head)
        if start.format != FORMAT:
            raise Corrupt(f"index of the repository: format {start.format}")
        rows = {row.name: row for line in lines for row in _unpacked(line)}
    except (msgspec.MsgspecError, ValueError):
        raise Corrupt("index of the repository: cannot be read") from None
    return Base(rows, frozenset(start.included))


def _packed(row: Listed) -> tuple[str, str, str]:
    """Name, versions with a mark each (`1n 2y`), and the error."""
    marks = " ".join(f"{version}{_MARKS[row.required.get(version)]}" for version in row.versions)
    return row.name, marks, row.error


def _unpacked(line: bytes) -> Iterator[Listed]:
    for name, marks, error in _ROWS.decode(line):
        found = {int(text[:-1]): text[-1] for text in marks.split() if VERSION.fullmatch(text[:-1])}
        if is_model_name(name) and (found or error):
            required = {v: _REQUIRED[mark] for v, mark in found.items() if mark in _REQUIRED}
            yield Listed(name, tuple(sorted(found)), error, required)
