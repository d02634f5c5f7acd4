"""Objects that models share: made once per key, kept while a model uses them.

Content-addressed, so a key never changes its meaning: weights by the hash of their blob, programs
by the hash of their graph. One instance belongs to one device.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar, cast
from weakref import WeakValueDictionary

T = TypeVar("T")


class SharedObjects:
    """A weak cache for several loader threads. The last `keep_last` objects requested with `keep`
    stay alive after their last user, so that an architecture need not be read again."""

    def __init__(self, keep_last: int = 32) -> None:
        self._keep_last = keep_last
        self._objects: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: str, make: Callable[[], T], *, keep: bool = False) -> T:
        """The object of `key`, made by `make` if none is alive. Threads that request the same key
        at the same time wait for one `make`; its exception is raised in the thread that ran it."""
        with self._lock:
            found = self._objects.get(key)
            if found is not None:
                self._touch(key, found, keep)
                return cast(T, found)
            making = self._making.setdefault(key, threading.Lock())
        with making:
            found = self._objects.get(key)
            if found is None:
                found = make()
            with self._lock:
                self._objects[key] = found
                self._making.pop(key, None)
                self._touch(key, found, keep)
            return cast(T, found)

    def alive(self) -> list[str]:
        """The keys of all living objects."""
        return list(self._objects)

    def _touch(self, key: str, found: Any, keep: bool) -> None:
        if not keep:
            return
        self._kept[key] = found
        self._kept.move_to_end(key)
        while len(self._kept) > self._keep_last:
            self._kept.popitem(last=False)
