"""What was accepted, and whether each of it came to one end, the right one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from router.rest.arguments import IDEMPOTENCY_KEY, REPLAYED
from tests.failpoints.history import History
from tests.helpers.http import ask
from tests.helpers.models import Mlp
from tests.helpers.stack import Process, Stack
from tests.helpers.wait import block_until
from tests.judge.left import RedisStore, left_over
from tests.judge.outcomes import TERMINAL, Record, doubled, verdict
from warmroute import RequestFailed

PATIENCE_S = 40.0
RIGHT, REFUSED, EITHER = "succeeded", "failed", "succeeded or cancelled"
_serial = itertools.count(1)


@dataclass(frozen=True)
class Asked:
    """An accepted request: by 202 (`id`), or an entry of the stream door (`line`)."""

    id: str
    line: str
    right: Callable[[Any], bool]
    end: str  # RIGHT, REFUSED, or EITHER where its gateway died while it was cancelled


@dataclass
class Count:
    """Of all runs together."""

    points: int = 0
    answers: int = 0
    accepted: int = 0
    terminal: int = 0
    doubled: int = 0
    ends: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lost = self.accepted - self.terminal
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        return (
            f"{self.points} failpoints killed, {self.answers} answers of scripts lost; "
            f"{self.accepted} requests accepted, {self.terminal} terminal ({ends}), "
            f"lost {lost}, doubled {self.doubled}"
        )


class Ledger:
    """Asks, remembers what was accepted, and checks it in the end."""

    def __init__(self, stack: Stack, history: History, count: Count) -> None:
        self._stack = stack
        self.history = history
        self._count = count
        self._asked: list[Asked] = []
        self.answers = f"{stack.keys.answers}failpoints"

    def submit(
        self, model: Mlp, number: int = 1, *, at: Process | None = None, end: str = RIGHT,
        timeout_s: float = PATIENCE_S,
    ) -> list[str]:  # fmt: skip
        """By HTTP, to be polled; an error if it was not accepted. The ids."""
        for _ in range(number):
            question = model.question(next(_serial))
            pending = self._stack.client(at).submit(model.name, question, timeout=timeout_s)
            self._asked.append(Asked(pending.id, "", _right(model, question), end))
        return [one.id for one in self._asked[-number:]]

    def note(self, request_id: str, right: Callable[[Any], bool], end: str) -> None:
        """Remember what was accepted elsewhere."""
        self._asked.append(Asked(request_id, "", right, end))

    def stream(self, model: Mlp, number: int = 1, *, end: str = RIGHT) -> None:
        """By the stream door."""
        for _ in range(number):
            question, line = model.question(next(_serial)), f"line-{next(_serial)}"
            fields = {"model": model.name, "body": _v2(question), "id": line}
            fields["reply_to"] = self.answers
            self._stack.redis.xadd(self._stack.keys.ingress, fields)
            self._asked.append(Asked("", line, _right(model, question), end))

    def insist(self, model: Mlp, first: Process, then: Process) -> bool:
        """The same request under one key: at a gateway, whatever comes of it, and at another.
        Whether the second found the first."""
        question, key = model.question(next(_serial)), f"key-{next(_serial)}"
        path = f"/v2/models/{model.name}/infer"
        sent = path, _v2(question).encode(), {IDEMPOTENCY_KEY: key, "Prefer": "respond-async"}
        with suppress(ConnectionError):
            ask(first.url, "POST", *sent)
        accepted = ask(then.url, "POST", *sent)
        assert accepted.status == 202, accepted
        self.note(accepted.json()["id"], _right(model, question), RIGHT)
        return REPLAYED.lower() in accepted.headers

    def check(self) -> None:
        """Each reached one end, the right one; nothing is left behind. Fails if not."""
        asked, self._asked = self._asked, []
        self._count.accepted += len(asked)
        records = {str(one): self._record(one) for one in asked}
        for record in records.values():
            self._count.terminal += record.kept in TERMINAL
            self._count.ends[record.kept] = self._count.ends.get(record.kept, 0) + 1
        block_until(lambda: self.left() == [], PATIENCE_S)
        self.history.catch_up()
        for one in asked:
            times = self.history.ends[one.id] if one.id else len(self._lines(one.line))
            records[str(one)].times = times
        self._count.doubled += len(list(doubled(records)))
        found = verdict(records)
        assert not found, "; ".join(found)
        more = {name: times for name, times in self.history.ends.items() if times > 1}
        assert more == {}, "requests that nobody asked for ended more than once"

    def left(self) -> list[str]:
        """What still waits or runs somewhere; a load may go on."""
        return left_over(RedisStore(self._stack.redis), self._stack.keys, loads=False)

    def _record(self, one: Asked) -> Record:
        end, right = self._end_of_line(one) if one.line else self._end_of_request(one)
        return Record(end, allowed=one.end.split(" or "), right=right)

    def _end_of_request(self, one: Asked) -> tuple[str, bool]:
        client = self._stack.client()
        try:
            result = client.pending(one.id).result(timeout=PATIENCE_S)
        except RequestFailed as error:
            return error.state, True
        return "succeeded", one.right(result["y"])

    def _end_of_line(self, one: Asked) -> tuple[str, bool]:
        block_until(lambda: self._lines(one.line), PATIENCE_S)
        answer = self._lines(one.line)[0]
        status = answer[b"status"].decode()
        if status != "succeeded":
            return status, True
        (output,) = json.loads(answer[b"body"])["outputs"]
        return status, one.right(np.array(output["data"], np.float32).reshape(output["shape"]))

    def _lines(self, line: str) -> list[dict[bytes, bytes]]:
        rows = self._stack.redis.xrange(self.answers)
        return [fields for _, fields in rows if fields[b"id"] == line.encode()]


def _v2(question: dict[str, Any]) -> str:
    data = question["x"].tolist()
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 16], "data": data}
    return json.dumps({"inputs": [tensor]})


def _right(model: Mlp, question: dict[str, Any]) -> Callable[[Any], bool]:
    return lambda said: model.right(question, said)
