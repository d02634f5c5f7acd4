"""The calls a user makes. Each is one HTTP request, and none keeps state beside connections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote

import numpy as np

from deploy.client.admin import Admin
from deploy.client.errors import ClientError, ConnectionFailed, ServerError
from deploy.client.fleet import Fleet, model_path
from deploy.client.http import HEADER_LENGTH, Answer, Http
from deploy.client.pending import Pending
from deploy.client.result import Result, read_result
from deploy.client.tensors import TensorLike, encode
from shared import datatypes

Parameters = Mapping[str, str | int | float | bool]
GRACE_S = 2.0
KEY = "Idempotency-Key"
DEAD_PAGE = 100


class Client(Fleet, Admin):
    """A gateway at `url`. Threads may share one client.

    `timeout` is in seconds and the default of every call. `retries` is how often a call is made
    again when no connection could be opened, or when the gateway said 429 or 503 (after the time
    it asked for). With an idempotency key it is also made again when its answer was lost.
    """

    def __init__(
        self, url: str, *, timeout: float = 60.0, retries: int = 2, connections: int = 16
    ) -> None:
        self._http = Http(url, timeout_s=timeout, retries=retries, connections=connections)
        self._specs: dict[tuple[str, int | None], dict[str, str]] = {}

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
        inputs: Mapping[str, TensorLike],
        *,
        version: int | None = None,
        outputs: Iterable[str] | None = None,
        parameters: Parameters | None = None,
        timeout: float | None = None,
        idempotency_key: str | None = None,
    ) -> Result:
        """Run `model` on named arrays and wait for its outputs.

        numpy arrays travel as they are; Python lists take the datatype that the model declares.
        `timeout` in seconds is also the request's deadline at the server. The same request under
        the same `idempotency_key` runs once, however often it is asked for within a day.
        """
        # The server's own 504, which names the request, should come first.
        wait_s = None if timeout is None else timeout + GRACE_S
        headers = _key_header(idempotency_key)
        answer = self._send(model, inputs, version, outputs, parameters, timeout, wait_s, headers)
        if answer.status == 202:  # that gateway stopped; the request goes on without it
            return self._accepted(answer).result(wait_s)
        return read_result(answer)

    def submit(
        self,
        model: str,
        inputs: Mapping[str, TensorLike],
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
        headers = {"Prefer": "respond-async", **_key_header(idempotency_key)}
        answer = self._send(model, inputs, version, outputs, parameters, timeout, None, headers)
        return self._accepted(answer)

    def pending(self, request_id: str) -> Pending:
        """The handle of a request that was submitted before, here or elsewhere."""
        return Pending(self._http, request_id)

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

    def dead_letters(self) -> Iterator[dict[str, Any]]:
        """What could not be served and is kept for an operator, newest first, without payloads."""
        after = ""
        while after is not None:
            path = f"/v2/dead?limit={DEAD_PAGE}" + (f"&after={after}" if after else "")
            page = self._http.call("GET", path).json()
            yield from page["letters"]
            after = page["next"]

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
        except (ServerError, ClientError):
            return False

    def _accepted(self, answer: Answer) -> Pending:
        location = answer.header("Location")
        if answer.status != 202 or location is None:
            raise ConnectionFailed("the server does not offer respond-async")
        return self.pending(location.rstrip("/").rsplit("/", 1)[-1])

    def _send(
        self,
        model: str,
        inputs: Mapping[str, TensorLike],
        version: int | None,
        outputs: Iterable[str] | None,
        parameters: Parameters | None,
        deadline_s: float | None,
        wait_s: float | None,
        headers: dict[str, str],
    ) -> Answer:
        settings = dict(parameters or {})
        if deadline_s is not None:
            settings["timeout"] = int(
                deadline_s * 1e6
            )  # microseconds, as V2's schedule policy says
        arrays = self._as_arrays(model, version, inputs)
        body, length = encode(arrays, outputs=outputs, parameters=settings)
        return self._http.call(
            "POST",
            model_path(model, version) + "/infer",
            body=body,
            headers={
                "Content-Type": "application/octet-stream",
                HEADER_LENGTH: str(length),
                **headers,
            },
            timeout_s=wait_s,
            repeatable=KEY in headers,
        )

    def _as_arrays(
        self, model: str, version: int | None, inputs: Mapping[str, TensorLike]
    ) -> dict[str, TensorLike]:
        """Python numbers have no width, so the model's metadata (asked for once) decides it."""
        return {
            name: value
            if isinstance(value, np.ndarray)
            else np.asarray(value, self._dtype(model, version, name))
            for name, value in inputs.items()
        }

    def _dtype(self, model: str, version: int | None, name: str) -> np.dtype[Any] | None:
        specs = self._specs.get((model, version))
        if specs is None:
            described = self.model(model, version=version)["inputs"]
            specs = {spec["name"]: spec["datatype"] for spec in described}
            self._specs[model, version] = specs
        # None for an unknown input (the server's message is better than ours) and for BF16, which
        # numpy cannot make out of a list.
        datatype = specs.get(name, "")
        if datatype == datatypes.BYTES:
            return np.dtype(object)
        return None if datatype == "BF16" else datatypes.NUMPY.get(datatype)


def _key_header(idempotency_key: str | None) -> dict[str, str]:
    return {} if idempotency_key is None else {KEY: idempotency_key}


def _dead_path(entry: str) -> str:
    return f"/v2/dead/{quote(entry, safe='')}"
