"""The calls a user makes. Each is one HTTP request, and none keeps state beside connections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any
from urllib.parse import quote

from warmroute.admin import Admin
from warmroute.errors import ClientError, ConnectionFailed, InvalidInput
from warmroute.fleet import Fleet, model_path
from warmroute.http import Answer, Http
from warmroute.pending import Pending
from warmroute.questions import KEY, Inputs, Parameters, Question, Questions, seconds
from warmroute.result import Result, read_result
from warmroute.urls import default_url, read_url

GRACE_S = 2.0
PAGE = 100


class Client(Fleet, Admin):
    """A gateway at `url` (default: WARMROUTE_URL, or port 8000 here). Threads may share one.

    `timeout` is in seconds and the default of every call. `retries` is how often a call is made
    again when no connection could be opened, or when the gateway said 429 or 503 (after the time
    it asked for). With an idempotency key it is also made again when its answer was lost.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 2,
        connections: int = 16,
    ) -> None:
        where = read_url(default_url() if url is None else url)
        limit_s = seconds("timeout", timeout)
        self._http = Http(where, timeout_s=limit_s, retries=retries, connections=connections)
        self._questions = Questions(self._http, self.model)

    def __repr__(self) -> str:
        return f"Client({self._http.url!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the kept connections."""
        self._http.close()

    def infer(
        self,
        model: str,
        inputs: Inputs,
        *,
        version: int | None = None,
        outputs: Iterable[str] | None = None,
        parameters: Parameters | None = None,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> Result:
        """Run `model` on named arrays (or on one, if it has one input) and wait for its outputs.

        Arrays, tensors, numbers, text and lists take the datatype that the model declares, if
        every value can be kept (Python's floats may be rounded to it), else InvalidInput.
        `timeout` in seconds is also the request's deadline at the server. The same request under
        the same `idempotency_key` runs once, however often it is asked for within a day.
        """
        # The server's own 504, which names the request, should come first.
        wait_s = None if timeout is None else seconds("timeout", timeout) + GRACE_S
        question = Question(
            model=model, inputs=inputs, version=version, outputs=outputs, parameters=parameters,
            timeout_s=timeout,
        )  # fmt: skip
        answer = self._questions.ask(question, wait_s, _key_header(idempotency_key))
        if answer.status == 202:  # that gateway stopped; the request goes on without it
            return self._accepted(answer).result(wait_s)
        return read_result(answer)

    def submit(
        self,
        model: str,
        inputs: Inputs,
        *,
        version: int | None = None,
        outputs: Iterable[str] | None = None,
        parameters: Parameters | None = None,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> Pending:
        """Hand the request over and return at once; it is durable when this returns.

        `timeout` in seconds is how long the request may wait and run before it expires. Under an
        `idempotency_key` that was used before, it is the request of then.
        """
        question = Question(
            model=model, inputs=inputs, version=version, outputs=outputs, parameters=parameters,
            timeout_s=timeout,
        )  # fmt: skip
        headers = {"Prefer": "respond-async", **_key_header(idempotency_key)}
        return self._accepted(self._questions.ask(question, None, headers))

    def pending(self, request_id: str) -> Pending:
        """The handle of a request that was submitted before, here or elsewhere."""
        if not isinstance(request_id, str):
            raise InvalidInput(f"request {request_id!r}: its id is text")
        return Pending(self._http, request_id)

    def requests(self) -> Iterator[dict[str, Any]]:
        """Accepted requests that have not ended, the nearest deadline first, page by page."""
        return self._pages("/v2/requests", "requests")

    def models(self, *, ready: bool | None = None) -> list[dict[str, Any]]:
        """The repository index: name, version, state and reason of each; `ready` filters."""
        body = b"{}" if ready is None else b'{"ready": %s}' % str(ready).lower().encode()
        index: list[dict[str, Any]] = self._http.call(
            "POST", "/v2/repository/index", body=body, headers={"Content-Type": "application/json"}
        ).json()
        return index

    def model(self, model: str, *, version: int | None = None) -> dict[str, Any]:
        """V2 metadata: platform, inputs and outputs of a model."""
        metadata: dict[str, Any] = self._http.call("GET", model_path(model, version)).json()
        return metadata

    def versions(self, model: str) -> dict[str, Any]:
        """The `versions` of a model, newest first: whether each is live, its state, who holds it,
        why it cannot be loaded; and the one that requests without a version get (`serves`)."""
        document: dict[str, Any] = self._http.call(
            "GET", model_path(model, None) + "/versions"
        ).json()
        return document

    def dead_letters(self) -> Iterator[dict[str, Any]]:
        """What could not be served and is kept for an operator, newest first, without payloads."""
        return self._pages("/v2/dead", "letters")

    def dead_letter(self, entry: str) -> dict[str, Any]:
        """One dead letter, with what was asked under `request`."""
        letter: dict[str, Any] = self._http.call("GET", _dead_path(entry)).json()
        return letter

    def replay(self, entry: str) -> Pending | None:
        """Make a dead letter a new request; None if it went back into the stream door."""
        answer = self._http.call("POST", _dead_path(entry) + "/replay")
        location = answer.header("Location")
        return None if location is None else self.pending(location.rsplit("/", 1)[-1])

    def drop(self, entry: str) -> None:
        """Forget a dead letter."""
        self._http.call("DELETE", _dead_path(entry))

    def ready(self) -> bool:
        """Whether a gateway answers and says that it is ready."""
        try:
            return self._http.call("GET", "/v2/health/ready", timeout_s=5.0).status == 200
        except ClientError:
            return False

    def _pages(self, path: str, rows: str) -> Iterator[dict[str, Any]]:
        after: str | None = ""
        while after is not None:
            asked = f"{path}?limit={PAGE}" + (f"&after={quote(after, safe='')}" if after else "")
            page = self._http.call("GET", asked).json()
            yield from page[rows]
            after = page["next"]

    def _accepted(self, answer: Answer) -> Pending:
        location = answer.header("Location")
        if answer.status != 202 or location is None:
            raise ConnectionFailed("the server does not offer respond-async")
        return self.pending(location.rstrip("/").rsplit("/", 1)[-1])


def _key_header(idempotency_key: str | None) -> dict[str, str]:
    return {} if idempotency_key is None else {KEY: idempotency_key}


def _dead_path(entry: str) -> str:
    return f"/v2/dead/{quote(entry, safe='')}"
