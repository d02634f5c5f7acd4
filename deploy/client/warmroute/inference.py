"""Inference calls: the body from what the caller gave, and the flows of `infer` and `submit`.

The datatypes of a model's inputs are requested once and remembered. A new version may have others:
an error that the remembered ones lead to counts only after they were requested again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from warmroute import operations
from warmroute.call import Call, Exchange, Flow
from warmroute.encoding import HEADER_LENGTH, encode
from warmroute.errors import ClientError, InvalidInput, Rejected
from warmroute.polling import GRACE_S, wait_for_result
from warmroute.response import Response, as_objects, document, location_id, needed, text
from warmroute.result import Result, read_result

Parameters = Mapping[str, str | int | float | bool]
Inputs = Any  # arrays, tensors, numbers, text or lists: a mapping of them by name, or one of them
Datatypes = dict[str, str]
KEY = "Idempotency-Key"
BAD_REQUEST = 400
MAX_TIMEOUT_S = 1e9
_KEY = re.compile(r"[\x20-\x7e]{1,256}")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class InferenceRequest:
    """What a caller asks of a model. `inputs` by name, or the value of the only input."""

    model: str
    inputs: Inputs
    version: int | None = None
    outputs: Iterable[str] | None = None
    parameters: Parameters | None = None
    timeout: float | None = None
    idempotency_key: str | None = None

    def __post_init__(self) -> None:
        if self.outputs is not None:  # kept as a list: a retry reads them again
            names = [self.outputs] if isinstance(self.outputs, str) else list(self.outputs)
            object.__setattr__(self, "outputs", names)
        if self.timeout is not None:
            check_seconds("timeout", self.timeout)
        key = self.idempotency_key
        if key is not None and not (isinstance(key, str) and _KEY.fullmatch(key)):
            raise InvalidInput("idempotency_key: want 1 to 256 printable ASCII characters")

    def encoded(self, datatypes: Datatypes) -> tuple[bytes, int]:
        """The body and the length of its JSON header; InvalidInput if something cannot be sent."""
        parameters = dict(self.parameters or {})
        if self.timeout is not None:  # microseconds, as in V2's schedule policy
            parameters["timeout"] = int(self.timeout * 1e6)
        inputs = self.inputs
        if not isinstance(inputs, Mapping):
            if len(datatypes) != 1:
                names = ", ".join(sorted(datatypes)) or "none"
                raise InvalidInput(f"{self.model}: want a dict of its inputs by name: {names}")
            inputs = {name: inputs for name in datatypes}
        return encode(inputs, outputs=self.outputs, parameters=parameters, required=datatypes)

    def has_own_datatypes(self) -> bool:
        """Whether all inputs are arrays, which have a datatype of their own."""
        return isinstance(self.inputs, Mapping) and all(
            isinstance(value, np.ndarray) for value in self.inputs.values()
        )


@dataclass(frozen=True)
class Inference:
    """The flows of inference calls, and the datatypes they have learned. Threads may share one."""

    exchange: Exchange
    datatypes: dict[tuple[str, int | None], Datatypes] = field(default_factory=dict)

    def infer(self, request: InferenceRequest) -> Flow[Result]:
        """The result; also where a gateway that stops answers 202, and another has the result."""
        # The server's own 504, which names the request, should come first.
        limit_s = None if request.timeout is None else request.timeout + GRACE_S
        ends = time.monotonic() + (self.exchange.timeout_s if limit_s is None else limit_s)
        asked = request.outputs

        def read(response: Response) -> Result | str:
            if response.status == 202:
                return location_id(response)
            return read_result(response, asked)

        answer = yield from self._send(request, {}, limit_s, read)
        if isinstance(answer, Result):
            return answer
        left_s = max(ends - time.monotonic(), 0.0)
        return (yield from wait_for_result(self.exchange, answer, left_s))

    def submit(self, request: InferenceRequest) -> Flow[str]:
        """The id of the accepted request."""
        headers = {"Prefer": "respond-async"}
        return (yield from self._send(request, headers, None, location_id, frozenset({202})))

    def _send(
        self, request: InferenceRequest, headers: dict[str, str], timeout_s: float | None,
        read: Callable[[Response], T], statuses: frozenset[int] = frozenset({200, 202}),
    ) -> Flow[T]:  # fmt: skip
        """Sent again, once, if it was refused under datatypes that the model no longer has."""

        def call(encoded: tuple[bytes, int]) -> Call[T]:
            body, length = encoded
            sent = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(length)}
            if request.idempotency_key is not None:
                sent[KEY] = request.idempotency_key
            path = operations.model_path(request.model, request.version) + "/infer"
            return Call(
                method="POST", path=path, read=read, headers=sent | headers, body=body,
                safe=KEY in sent, statuses=statuses, timeout_s=timeout_s,
            )  # fmt: skip

        encoded = yield from self._encoded(request)
        try:
            return (yield from self.exchange(call(encoded)))
        except Rejected as error:
            if error.status != BAD_REQUEST:
                raise
            try:
                again = request.encoded((yield from self._look_up(request)))
            except InvalidInput:
                raise
            except ClientError:  # the model's datatypes cannot be read now
                raise error from None
            if again == encoded:
                raise
        return (yield from self.exchange(call(again)))

    def _encoded(self, request: InferenceRequest) -> Flow[tuple[bytes, int]]:
        known = self.datatypes.get((request.model, request.version))
        if known is None and request.has_own_datatypes():
            return request.encoded({})
        if known is not None:
            try:
                return request.encoded(known)
            except InvalidInput:
                pass  # the model may have other datatypes by now
        return request.encoded((yield from self._look_up(request)))

    def _look_up(self, request: InferenceRequest) -> Flow[Datatypes]:
        path = operations.model_path(request.model, request.version)
        call = Call(method="GET", path=path, read=_read_datatypes, safe=True)
        found = yield from self.exchange(call)
        self.datatypes[request.model, request.version] = found
        return found


def check_seconds(name: str, value: float) -> float:
    """A time limit; InvalidInput unless it is a number of seconds that a clock can hold."""
    if not isinstance(value, int | float) or not 0 <= value <= MAX_TIMEOUT_S:
        raise InvalidInput(f"{name}: {value!r}, want seconds from 0 to {MAX_TIMEOUT_S:g}")
    return value


def _read_datatypes(response: Response) -> Datatypes:
    inputs = as_objects(needed(document(response), "inputs", "a list of objects"), "inputs")
    return {
        text(spec, "name", f"inputs[{at}]."): text(spec, "datatype", f"inputs[{at}].")
        for at, spec in enumerate(inputs)
    }
