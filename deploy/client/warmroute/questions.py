"""One inference request from what the caller gave: which datatypes are wanted, and the body.

A model's datatypes are asked for once and remembered. A new version may have others: whatever the
remembered ones lead to, an error here or the server's refusal, is believed after a second look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from warmroute.errors import ClientError, ConnectionFailed, InvalidInput, Rejected
from warmroute.fleet import model_path
from warmroute.http import HEADER_LENGTH, Answer, Http
from warmroute.tensors import TensorLike, encode

Parameters = Mapping[str, str | int | float | bool]
Inputs = Mapping[str, TensorLike] | TensorLike
Datatypes = dict[str, str]
Encoded = tuple[bytes, int]
KEY = "Idempotency-Key"
BAD_REQUEST = 400
LONGEST_S = 1e9


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a model. `inputs` by name, or the one input that it has."""

    model: str
    inputs: Inputs
    version: int | None = None
    outputs: Iterable[str] | None = None
    parameters: Parameters | None = None
    timeout_s: float | None = None

    def encoded(self, datatypes: Datatypes) -> Encoded:
        """Body and length of its header; InvalidInput names what cannot be sent."""
        settings = dict(self.parameters or {})
        if self.timeout_s is not None:  # microseconds, as V2's schedule policy says
            settings["timeout"] = int(seconds("timeout", self.timeout_s) * 1e6)
        outputs = [self.outputs] if isinstance(self.outputs, str) else self.outputs
        named = self._named(datatypes)
        return encode(named, outputs=outputs, parameters=settings, wanted=datatypes)

    def says_its_datatypes(self) -> bool:
        """Whether all is arrays, which have a datatype of their own."""
        return isinstance(self.inputs, Mapping) and all(
            isinstance(value, np.ndarray) for value in self.inputs.values()
        )

    def _named(self, datatypes: Datatypes) -> Mapping[str, TensorLike]:
        if isinstance(self.inputs, Mapping):
            return self.inputs
        if len(datatypes) != 1:
            names = ", ".join(sorted(datatypes)) or "none"
            raise InvalidInput(f"{self.model}: want a dict of its inputs by name: {names}")
        return {name: self.inputs for name in datatypes}


class Questions:
    """Sends them. Threads may share one."""

    def __init__(self, http: Http, describe: Callable[..., dict[str, Any]]) -> None:
        self._http = http
        self._describe = describe
        self._datatypes: dict[tuple[str, int | None], Datatypes] = {}

    def ask(self, question: Question, wait_s: float | None, headers: dict[str, str]) -> Answer:
        """The answer below 400, or an error of the tree. Asked again, once, if it was refused
        under datatypes that are the model's no more."""
        sent = self._encoded(question)
        try:
            return self._post(question, sent, wait_s, headers)
        except Rejected as error:
            again = self._anew(question) if error.status == BAD_REQUEST else sent
            if again in (None, sent):
                raise
        assert again is not None
        return self._post(question, again, wait_s, headers)

    def _encoded(self, question: Question) -> Encoded:
        known = self._datatypes.get((question.model, question.version))
        if known is None:
            return question.encoded({} if question.says_its_datatypes() else self._look(question))
        try:
            return question.encoded(known)
        except InvalidInput:
            return question.encoded(self._look(question))

    def _anew(self, question: Question) -> Encoded | None:
        """With what the model says now; None if nobody tells."""
        try:
            datatypes = self._look(question)
        except ClientError:
            return None
        return question.encoded(datatypes)

    def _look(self, question: Question) -> Datatypes:
        described = self._describe(question.model, version=question.version)
        try:
            found = {one["name"]: one["datatype"] for one in described["inputs"]}
        except (KeyError, TypeError):
            raise ConnectionFailed(f"{question.model}: the answer is no model metadata") from None
        self._datatypes[question.model, question.version] = found
        return found

    def _post(
        self, question: Question, sent: Encoded, wait_s: float | None, headers: dict[str, str]
    ) -> Answer:
        body, length = sent
        tensors = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(length)}
        return self._http.call(
            "POST", model_path(question.model, question.version) + "/infer", body=body,
            headers={**tensors, **headers}, timeout_s=wait_s, repeatable=KEY in headers,
        )  # fmt: skip


def seconds(name: str, value: float) -> float:
    """A time to wait; InvalidInput unless it is one."""
    if not isinstance(value, int | float) or not 0 <= value <= LONGEST_S:
        raise InvalidInput(f"{name}: {value!r}, want seconds from 0 to {LONGEST_S:g}")
    return value
