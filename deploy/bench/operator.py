"""The doors of an operator, one call after the other on one connection."""

from __future__ import annotations

import http.client
import json
from types import TracebackType
from typing import Any, Self

from deploy.bench.errors import BenchError
from deploy.local.ports import LOOPBACK

WITHIN_S = 60.0
NO_DOOR = frozenset({404, 405, 501})


class Operator:
    """Loads, unloads, pins and sessions over HTTP. Statuses are for the caller to judge."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(LOOPBACK, port, timeout=WITHIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def call(self, method: str, path: str, document: Any = None) -> tuple[int, Any]:
        """The status, and the JSON of the answer (None without one). BenchError if none comes."""
        body = b"" if document is None else json.dumps(document).encode()
        headers = {"Content-Type": "application/json"}
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise BenchError(f"{method} {path}: {error!r}") from error
        return response.status, json.loads(raw) if raw else None

    def must(self, method: str, path: str, document: Any = None) -> Any:
        """As `call`; BenchError unless the status is 200 or a little over."""
        status, answer = self.call(method, path, document)
        if not 200 <= status < 300:
            raise BenchError(f"{method} {path}: {status} {answer}")
        return answer

    def load(self, model: str) -> None:
        """Return once a worker holds it."""
        self.must("POST", f"/v2/repository/models/{model}/load")

    def unload(self, model: str) -> None:
        """Return once nobody holds it."""
        self.must("POST", f"/v2/repository/models/{model}/unload")
