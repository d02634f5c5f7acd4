"""All models of a repository by name, as one read found them. Never changed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, ValuesView
from typing import Any, NamedTuple

from shared.repository import Listed


class IndexPage(NamedTuple):
    """Rows by name; `next`: the name behind which the following ones begin, None at the end."""

    rows: list[Listed]
    next: str | None


class Listing(Mapping[str, Listed]):
    """Rows that are sorted by name."""

    def __init__(self, rows: Iterable[Listed]) -> None:
        self._rows = {row.name: row for row in rows}
        self._names = list(self._rows)

    def __getitem__(self, name: str) -> Listed:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def get(self, name: str, default: Any = None) -> Any:
        """(Like the next one: that of the dictionary, as there may be 100,000 rows.)"""
        return self._rows.get(name, default)

    def values(self) -> ValuesView[Listed]:
        """The rows, by name."""
        return self._rows.values()

    def with_required_of(self, other: Mapping[str, Listed]) -> Listing:
        """These rows, with what the other ones know of the manifests of the same versions."""
        return Listing(_with_required(row, other.get(row.name)) for row in self._rows.values())

    def page(self, after: str, prefix: str, most: int) -> IndexPage:
        """Up to `most` rows behind `after` whose names begin with `prefix`."""
        first = max(bisect_right(self._names, after), bisect_left(self._names, prefix))
        names = self._names[first : first + most]
        fitting = [name for name in names if name.startswith(prefix)]
        follows = len(fitting) == most and first + most < len(self._names)
        return IndexPage([self._rows[name] for name in fitting], fitting[-1] if follows else None)


def _with_required(row: Listed, known: Listed | None) -> Listed:
    if known is None or not known.required:
        return row
    required = {v: flag for v, flag in known.required.items() if v in row.versions}
    return Listed(row.name, row.versions, row.error, required | dict(row.required))
