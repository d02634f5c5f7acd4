"""What an operator asks of a fleet: models, residency, policies, sessions, events, dead letters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from warmroute import operations
from warmroute.call import Call, Exchange, Flow
from warmroute.events import Following, Retrying, follow, ignore
from warmroute.paging import FleetPage, Page, joined, models, residency
from warmroute.pending import Pending
from warmroute.response import Document
from warmroute.sending import Sender
from warmroute.session import ModelName, Session, SessionPlan

T = TypeVar("T")


class Operator(ABC):
    """The part of `Client` for operators."""

    _exchange: Exchange
    _sender: Sender

    @abstractmethod
    def _call(self, call: Call[T]) -> T: ...

    @abstractmethod
    def _run(self, flow: Flow[T]) -> T: ...

    @abstractmethod
    def pending(self, request_id: str) -> Pending:
        """The handle of a request that was submitted before, by any process."""

    def models(self, *, ready: bool | None = None, prefix: str | None = None) -> list[Document]:
        """The repository index: `name`, `version`, `state`, `reason` of each; `ready` and `prefix`
        (of the names) filter."""
        first = models(ready, prefix)
        return list(self._rows(first))

    def model(self, model: str, *, version: int | None = None) -> Document:
        """V2 metadata of a model: `platform`; name, datatype and shape of `inputs`, `outputs`."""
        return self._call(operations.model(model, version))

    def versions(self, model: str) -> Document:
        """The `versions` of a model, the newest first, and which one `serves` by default."""
        return self._call(operations.versions(model))

    def load(
        self, model: str, *, version: int | None = None, timeout: float | None = None,
        wait: bool = True,
    ) -> Document:  # fmt: skip
        """Load a model and wait for it; the `workers` that hold it.

        Args:
            timeout: seconds to wait; None is the server's default.
            wait: False orders the load and returns at once.

        Raises:
            Expired: it is not loaded in time; the load goes on.
            ServerError: it cannot be loaded.
        """
        return self._call(operations.load(model, version, timeout, wait))

    def unload(
        self, model: str, *, version: int | None = None, timeout: float | None = None
    ) -> Document:
        """Free every copy of a model, of all versions if none is given, and wait for it."""
        return self._call(operations.unload(model, version, timeout))

    def policy(self, model: str, *, version: int | None = None) -> Document:
        """The residency policy in force, its `overrides`, and what the `manifest` says."""
        return self._call(operations.policy(model, version))

    def set_policy(
        self, model: str, fields: Mapping[str, Any], *, version: int | None = None
    ) -> Document:
        """Override fields of the policy; None removes an override. Returns what `policy` does."""
        return self._call(operations.set_policy(model, fields, version))

    def residency(
        self, *, prefix: str | None = None, worker: str | None = None, state: str | None = None
    ) -> Document:
        """The whole fleet: `workers`, `models` (copies, tiers, bytes) and `loads` in progress.

        Args:
            prefix: only models whose names begin with it.
            worker, state: only this worker, or those in this state (starting, ready, draining).
        """
        first = residency(prefix, worker, state)
        pages = list(self._fleet(first))
        return joined(page.document for page in pages)

    def workers(self, *, worker: str | None = None, state: str | None = None) -> list[Document]:
        """The workers of the fleet, and the models that each holds, by tier."""
        first = residency(None, worker, state)
        pages = list(self._fleet(first))
        return [row for page in pages for row in page.workers]

    def model_residency(self, model: str, version: int | None = None) -> Document:
        """One model: its copies, what its requests wait for, its policy and measured costs."""
        return self._call(operations.model_residency(model, version))

    def session(
        self, models: Iterable[ModelName], *, ttl: float = 60.0, wait: bool = True,
        timeout: float | None = None, id: str | None = None,
    ) -> Session:  # fmt: skip
        """Keep models in memory while a `with` block runs.

        Args:
            models: names, or (name, version).
            ttl: seconds after which the session ends if this program dies.
            wait: enter the block only when each model is loaded or has failed.
            timeout: seconds to wait for that; None is the server's default.
            id: a name of the session; default: a random one.

        Raises:
            ServerError: the models do not fit beside those of other sessions (on entering).

        Example:
            >>> with client.session(["mlp", ("bert", 2)]) as session:
            ...     client.infer("mlp", array)
        """
        plan = SessionPlan.of(models, ttl, wait, timeout, id)
        return Session(self._run, self._exchange, plan)

    def sessions(self) -> Iterator[Document]:
        """Open sessions by id, with the names of their models."""
        return self._rows(operations.sessions())

    def session_info(self, session: str) -> Document:
        """An open session, and the state of each of its models."""
        return self._call(operations.session(session))

    def keep_session(self, session: str, ttl: float | None = None) -> Document:
        """Extend a session to `ttl` seconds from now; None: to its own ttl."""
        return self._call(operations.keep_session(session, ttl))

    def close_session(self, session: str) -> None:
        """End a session: its models may be evicted."""
        self._call(operations.close_session(session))

    def dead_letters(self) -> Iterator[Document]:
        """Requests that failed for good and are kept for an operator, the newest first."""
        return self._rows(operations.dead_letters())

    def dead_letter(self, entry: str) -> Document:
        """One dead letter, with the request's payload under `request`."""
        return self._call(operations.dead_letter(entry))

    def replay_dead_letter(self, entry: str) -> Pending | None:
        """Submit a dead letter again; None for a stream entry, which goes back to its stream."""
        request_id = self._call(operations.replay_dead_letter(entry))
        return None if request_id is None else self.pending(request_id)

    def drop_dead_letter(self, entry: str) -> None:
        """Remove a dead letter."""
        self._call(operations.drop_dead_letter(entry))

    def events(
        self, *, model: str | None = None, worker: str | None = None, kinds: Iterable[str] = (),
        since: str | None = None, limit: int | None = None, follow: bool = False,
        retrying: Retrying = ignore,
    ) -> Iterator[Document]:  # fmt: skip
        """Events of model copies (loaded, evicted, ...), the oldest first.

        Args:
            model, worker, kinds: only events of these.
            since: an event's id, a time (2026-01-02T03:04:05Z) or an age (90s, 10m, 2h, 1d).
            limit: the most events; None: all after `since`, or the last 100 without `since`.
            follow: go on without an end, from `since` or from now. No event is missed when a
                gateway stops; an event of the kind `gap` stands for those no longer kept.
            retrying: called with the error when no gateway answers, which ends the iteration
                after half a minute.
        """
        filters = operations.event_filters(model, worker, kinds)
        return (
            self._follow(filters, since, retrying)
            if follow
            else self._rows(operations.events(filters, since, limit))
        )

    def _follow(
        self, filters: operations.Query, since: str | None, retrying: Retrying
    ) -> Iterator[Document]:
        following = Following(filters, since, retrying, self._exchange.timeout_s)
        return follow(self._sender, following)

    def _rows(self, first: Call[Page]) -> Iterator[Document]:
        call: Call[Page] | None = first
        while call is not None:
            page = self._call(call)
            yield from page.rows
            call = page.next

    def _fleet(self, first: Call[FleetPage]) -> Iterator[FleetPage]:
        call: Call[FleetPage] | None = first
        while call is not None:
            page = self._call(call)
            yield page
            call = page.next
