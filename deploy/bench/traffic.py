"""The two sides of the soak: requests of many callers, and the actions of an operator beside them.

Callers may be refused, but clearly: with a status and a code, never with another failure. The
operator loads, unloads, pins and opens sessions, at random by a seed. What a pin or a session
promises holds from the answer to the call that made it until the call that ends it.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from deploy.bench.measure import BenchError
from deploy.bench.posts import Tensors, check_outputs
from warmroute import Client, ClientError, ServerError

# There is no capacity or no time just now: full, unavailable, too late, no memory.
REFUSALS = frozenset({429, 503, 504, 507})
CONFLICT = 409  # for an operator only
EXPIRED = 504  # no answer to an unload: what holds a model drains within moments
SESSION_MODELS = 2
TTL_S = 30.0


@dataclass(frozen=True)
class Question:
    """A request, and what it must answer."""

    model: str
    inputs: Tensors
    expected: Tensors


@dataclass
class Asked:
    """What came of the requests. `refused` counts by the code of the refusal."""

    right: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """Requests that had an end."""
        return self.right + self.refused.total() + len(self.faults)


def ask_all(client: Client, order: Iterable[Question], at_a_time: int) -> Asked:
    """Ask the questions of `order`, so many at a time."""
    asked = Asked()
    with ThreadPoolExecutor(at_a_time) as pool:
        for code, fault in pool.map(lambda question: _ask(client, question), order):
            if fault:
                asked.faults.append(fault)
            elif code:
                asked.refused[code] += 1
            else:
                asked.right += 1
    return asked


def _ask(client: Client, question: Question) -> tuple[str, str]:
    """The code of a clear refusal, and what is wrong; both empty for a right answer."""
    try:
        result = client.infer(question.model, dict(question.inputs))
        check_outputs(result.outputs, question.expected, question.model)
    except BenchError as error:
        return "", str(error)
    except ClientError as error:
        if _is_clear(error, REFUSALS):
            return error.code, ""
        return "", f"{question.model}: {error!r}"
    return "", ""


def _is_clear(error: ClientError, statuses: frozenset[int]) -> TypeGuard[ServerError]:
    return isinstance(error, ServerError) and error.status in statuses and bool(error.code)


@dataclass(frozen=True)
class Promise:
    """A model that must stay: every copy of it (`pin`), or at least one (`session`). ms of the
    clock of this machine, which is Redis's too."""

    model: str
    kind: str
    since: float
    until: float = math.inf


@dataclass
class Operator:
    """Acts through one gateway on `models`; so few are pinned at a time that all fit. `done` counts
    by action and what came of it."""

    client: Client
    models: Sequence[str]
    random: random.Random
    most_pinned: int = 2
    done: Counter[str] = field(default_factory=Counter)
    promises: list[Promise] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _pinned: dict[str, int] = field(default_factory=dict)  # model: its place in `promises`
    _sessions: dict[str, list[int]] = field(default_factory=dict)

    def act(self) -> None:
        """One action."""
        actions: dict[Callable[[], object], int] = {
            self._load: 3, self._unload: 3, self._pin: 1, self._unpin: 2, self._open: 1,
            self._close: 2,
        }  # fmt: skip
        self.random.choices(list(actions), list(actions.values()))[0]()

    def release(self) -> None:
        """Remove all pins and close all sessions."""
        while self._pinned:
            self._unpin()
        while self._sessions:
            self._close()

    def _load(self) -> None:
        model = self._any()
        self._call("load", lambda: self.client.load(model))

    def _unload(self) -> None:
        model = self._any()
        refusals = REFUSALS - {EXPIRED} | {CONFLICT}
        self._call("unload", lambda: self.client.unload(model), refusals)

    def _pin(self) -> None:
        model = self._any()
        if model in self._pinned or len(self._pinned) >= self.most_pinned:
            return
        if self._call("pin", lambda: self.client.set_policy(model, {"pin": True})):
            self._pinned[model] = self._promise(model, "pin")

    def _unpin(self) -> None:
        if self._pinned:
            model = self.random.choice(sorted(self._pinned))
            self._end(self._pinned.pop(model))
            self._call("unpin", lambda: self.client.set_policy(model, {"pin": None}))

    def _open(self) -> None:
        if self._sessions:
            return
        models = self.random.sample(list(self.models), SESSION_MODELS)
        session = self.client.session(models, ttl=TTL_S, wait=False)
        if self._call("open a session", session.open):
            self._sessions[session.id] = [self._promise(model, "session") for model in models]

    def _close(self) -> None:
        if self._sessions:
            session, places = self._sessions.popitem()
            for place in places:
                self._end(place)
            self._call("close a session", lambda: self.client.close_session(session))

    def _call(
        self, what: str, call: Callable[[], object],
        refusals: frozenset[int] = REFUSALS | {CONFLICT},
    ) -> bool:  # fmt: skip
        """Whether it was done; a clear refusal is counted, anything else is a fault."""
        try:
            call()
        except ClientError as error:
            if _is_clear(error, refusals):
                self.done[f"{what}: refused {error.status}"] += 1
            else:
                self.faults.append(f"{what}: {error!r}")
            return False
        self.done[what] += 1
        return True

    def _any(self) -> str:
        return self.random.choice(self.models)

    def _promise(self, model: str, kind: str) -> int:
        self.promises.append(Promise(model, kind, time.time() * 1000))
        return len(self.promises) - 1

    def _end(self, place: int) -> None:
        # A session may have expired before it is closed.
        self.promises[place] = replace(self.promises[place], until=time.time() * 1000)
