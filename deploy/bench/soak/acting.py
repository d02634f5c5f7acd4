"""What an operator does beside the requests: loads, unloads, pins, sessions, at random by a seed.

A door that this gateway does not have is not tried again. What a pin or a session promises holds
from the answer to the one that made it until the call that ends it.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deploy.bench.errors import BenchError
from deploy.bench.operator import NO_DOOR, Operator

REFUSED = frozenset({409, 429, 503, 504, 507})
SESSION_MODELS = 2
TTL_S = 30.0


@dataclass(frozen=True)
class Promise:
    """A model that must stay: every copy of it (`pin`), or at least one (a session). ms of the
    clock of this machine, which is Redis's too."""

    model: str
    kind: str
    since: float
    until: float = math.inf


@dataclass
class Actor:
    """Acts through one gateway on `models`; so few are pinned at a time that there is room for
    all. `done` counts by action and what came of it."""

    operator: Operator
    models: Sequence[str]
    random: random.Random
    most_pinned: int = 2
    done: Counter[str] = field(default_factory=Counter)
    promises: list[Promise] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _pinned: dict[str, int] = field(default_factory=dict)  # model: its place in `promises`
    _sessions: dict[str, list[int]] = field(default_factory=dict)
    _missing: set[str] = field(default_factory=set)

    def act(self) -> None:
        """One action."""
        actions: dict[str, Callable[[], None]] = {
            "load": self._load, "unload": self._unload, "pin": self._pin, "unpin": self._unpin,
            "open a session": self._open, "close a session": self._close,
        }  # fmt: skip
        weights = [3, 3, 1, 2, 1, 2]
        actions[self.random.choices(list(actions), weights)[0]]()

    def release(self) -> None:
        """Take back all pins and sessions."""
        while self._pinned:
            self._unpin()
        while self._sessions:
            self._close()

    def _load(self) -> None:
        self._call("load", "POST", f"/v2/repository/models/{self._any()}/load")

    def _unload(self) -> None:
        self._call("unload", "POST", f"/v2/repository/models/{self._any()}/unload")

    def _pin(self) -> None:
        model = self._any()
        if model in self._pinned or len(self._pinned) >= self.most_pinned:
            return
        if self._call("pin", "PUT", f"/v2/models/{model}/policy", {"pin": True}) is not None:
            self._pinned[model] = self._promise(model, "pin")

    def _unpin(self) -> None:
        if self._pinned:
            model = self.random.choice(sorted(self._pinned))
            self._end(self._pinned.pop(model))
            self._call("unpin", "PUT", f"/v2/models/{model}/policy", {"pin": None})

    def _open(self) -> None:
        if self._sessions:
            return
        models = self.random.sample(list(self.models), SESSION_MODELS)
        answer = self._call(
            "open a session", "POST", "/v2/sessions", {"models": models, "ttl_s": TTL_S}
        )
        if answer is not None:
            self._sessions[str(answer["id"])] = [self._promise(m, "session") for m in models]

    def _close(self) -> None:
        if self._sessions:
            session, places = self._sessions.popitem()
            for place in places:
                self._end(place)
            self._call("close a session", "DELETE", f"/v2/sessions/{session}")

    def _call(self, what: str, method: str, path: str, document: Any = None) -> Any:
        """The answer, {} for an empty one; None if refused, or if there is no such door."""
        if what in self._missing:
            return None
        try:
            status, answer = self.operator.call(method, path, document)
        except BenchError as error:
            self.faults.append(str(error))
            return None
        if 200 <= status < 300:
            self.done[what] += 1
            return answer or {}
        if status in NO_DOOR:
            self._missing.add(what)
            self.done[f"{what}: no such door"] += 1
        elif status in REFUSED and answer and "error" in answer:
            self.done[f"{what}: refused {status}"] += 1
        else:
            self.faults.append(f"{method} {path}: {status} {answer}")
        return None

    def _any(self) -> str:
        return self.random.choice(self.models)

    def _promise(self, model: str, kind: str) -> int:
        self.promises.append(Promise(model, kind, time.time() * 1000))
        return len(self.promises) - 1

    def _end(self, place: int) -> None:
        # A session may have expired before it is closed.
        self.promises[place] = replace(self.promises[place], until=time.time() * 1000)
