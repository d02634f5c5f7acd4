"""A mapping of limited size that forgets what was not used for longest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keeps the `most` entries that were put or got last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def get(self, key: K) -> V | None:
        """The value of a key, which counts as used now."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: K, value: V) -> list[K]:
        """Keep a value; the keys that are forgotten for it."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        gone = []
        while len(self._entries) > self._most:
            gone.append(self._entries.popitem(last=False)[0])
        return gone

    def pop(self, key: K) -> V | None:
        """Forget a key; its value."""
        return self._entries.pop(key, None)
