"""What a client asks about the fleet: who holds what, and what has happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote

from warmroute.errors import ClientError, InvalidInput
from warmroute.events import event_pages, filters_of, follow_events
from warmroute.http import Http


class Fleet:
    """The part of `Client` that looks, and changes nothing."""

    _http: Http

    def residency(self) -> list[dict[str, Any]]:
        """The workers, and which models each holds in which tier."""
        workers: list[dict[str, Any]] = self.fleet()["workers"]
        return workers

    def fleet(self) -> dict[str, Any]:
        """The whole of GET /v2/residency: workers, totals of models, loads in flight."""
        document: dict[str, Any] = self._http.call("GET", "/v2/residency").json()
        return document

    def model_residency(self, model: str, version: int | None = None) -> dict[str, Any]:
        """One model: its copies, what it waits for, its policy, and what was learned of it."""
        path = model_path(model, version) + "/residency"
        document: dict[str, Any] = self._http.call("GET", path).json()
        return document

    def events(
        self,
        *,
        model: str | None = None,
        worker: str | None = None,
        kinds: Iterable[str] = (),
        since: str | None = None,
        limit: int | None = None,
        follow: bool = False,
        retrying: Callable[[ClientError], None] = lambda error: None,
    ) -> Iterator[dict[str, Any]]:
        """What happened to model copies and why, oldest first. `since`: an event's id, a time
        (2026-01-02T03:04:05Z) or a time ago (90s, 10m, 2h, 1d); without it the last 100, or
        `limit`.

        `follow`: for ever, without `since` from now on; no event is missed when a gateway goes. An
        event of kind `gap` stands where others are no longer kept. `retrying` is told when no
        gateway answers, which is borne for half a minute.
        """
        filters = filters_of(model, worker, kinds)
        if follow:
            return follow_events(self._http, filters, since, retrying)
        return event_pages(self._http, filters, since, limit)


def model_path(model: str, version: int | None) -> str:
    """The path of a model, or of one version of it."""
    try:
        path = f"/v2/models/{quote(model, safe='')}"
    except (TypeError, UnicodeEncodeError):
        raise InvalidInput(f"model {model!r}: no name of a model") from None
    if version is not None and not isinstance(version, int):
        raise InvalidInput(f"version {version!r}: want a whole number")
    return path if version is None else f"{path}/versions/{version}"
