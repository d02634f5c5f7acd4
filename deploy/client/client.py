"""The calls a user makes. Each is one HTTP request, and none keeps state beside connections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote

import numpy as np

from deploy.client.errors import ClientError, ConnectionFailed, ServerError
from deploy.client.http import HEADER_LENGTH, Answer, Http
from deploy.client.pending import Pending
from deploy.client.result import Result, read_result
from deploy.client.tensors import TensorLike, encode
from shared import datatypes

Parameters = Mapping[str, str | int | float | bool]
GRACE_S = 2.0


class Client:
    """A gateway at `url`. Threads may share one client.

    `timeout` is in seconds and the default of every call. `retries` is how often a call is made
    again when no connection could be opened, or when the gateway said 429 or 503 (after the time
    it asked for).
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
    ) -> Result:
        """Run `model` on named arrays and wait for its outputs.

        numpy arrays travel as they are; Python lists take the datatype that the model declares.
        `timeout` in seconds is also the request's deadline at the server.
        """
        # The server's own 504, which names the request, should come first.
        wait_s = None if timeout is None else timeout + GRACE_S
        answer = self._send(model, inputs, version, outputs, parameters, timeout, wait_s, {})
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
    ) -> Pending:
        """Hand the request over and return at once; it is durable when this returns.

        `timeout` in seconds is how long the request may wait and run before it expires.
        """
        headers = {"Prefer": "respond-async"}
        answer = self._send(model, inputs, version, outputs, parameters, timeout, None, headers)
        location = answer.header("Location")
        if answer.status != 202 or location is None:
            raise ConnectionFailed("the server does not offer respond-async")
        return self.pending(location.rstrip("/").rsplit("/", 1)[-1])

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
        metadata: dict[str, Any] = self._http.call("GET", _model_path(model, version)).json()
        return metadata

    def residency(self) -> list[dict[str, Any]]:
        """The workers, and which models each holds in which tier."""
        workers: list[dict[str, Any]] = self._http.call("GET", "/v2/residency").json()["workers"]
        return workers

    def ready(self) -> bool:
        """Whether a gateway answers and says that it is ready."""
        try:
            return self._http.call("GET", "/v2/health/ready", timeout_s=5.0).status == 200
        except (ServerError, ClientError):
            return False

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
            _model_path(model, version) + "/infer",
            body=body,
            headers={
                "Content-Type": "application/octet-stream",
                HEADER_LENGTH: str(length),
                **headers,
            },
            timeout_s=wait_s,
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


def _model_path(model: str, version: int | None) -> str:
    path = f"/v2/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{version}"
