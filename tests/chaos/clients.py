"""The ways in which clients ask. Each writes what it did and saw into the history.

None but `keyed` and `stream` asks twice: who has no idempotency key and no answer knows nothing.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio
import redis.exceptions

from shared.keys import Keys
from tests.chaos.answers import Answers
from tests.chaos.asking import BROKEN, Door, Question, Said, outputs_of
from tests.chaos.history import ACCEPTED, History, Op
from tests.judge.outcomes import TERMINAL

LIMIT_S = 30.0  # deadline of whoever is not in a hurry
REFUSALS = (429, 503)
# 503 too, but of what had been accepted: a worker is named (an id is given to refusals, too).
FAILURES = ("store_unavailable", "quarantined")
RETRY_S = 0.25
POLL_S = 5


@dataclass
class Clients:
    """What all clients share."""

    door: Door
    redis: redis.asyncio.Redis
    keys: Keys
    answers: Answers
    history: History
    dice: random.Random
    mark: str  # makes idempotency keys of this run its own
    questions: dict[int, Question] = field(default_factory=dict)  # by operation

    async def wait(self, question: Question, limit_s: float = LIMIT_S, kind: str = "sync") -> None:
        """Ask and wait for the answer on the same connection."""
        op = self._begin(kind, question, limit_s)
        body, headers = question.binary(limit_s)
        try:
            said = await self.door.ask("POST", _path(question), body, headers)
        except BROKEN as error:
            op.note("info", note=type(error).__name__)
            return
        await self._told(op, question, said)

    async def submit(self, question: Question, limit_s: float = LIMIT_S) -> None:
        """Submit, then poll until it has ended."""
        op = self._begin("async", question, limit_s)
        request = await self._accepted(op, question, limit_s)
        if request:
            await self._poll(op, question, request)

    async def hurry(self, question: Question) -> None:
        """With a deadline that may be too short."""
        limit_s = self.dice.choice((0.002, 0.01, 0.05, 0.3))
        if self.dice.random() < 0.5:
            await self.wait(question, limit_s, "hurried")
        else:
            await self.submit(question, limit_s)

    async def hang_up(self, question: Question) -> None:
        """Leave while the answer is awaited."""
        op = self._begin("hang up", question, LIMIT_S)
        body, headers = question.binary(LIMIT_S)
        try:
            async with asyncio.timeout(self.dice.uniform(0.0, 0.1)):
                said = await self.door.ask("POST", _path(question), body, headers)
        except BROKEN as error:
            op.note("info", note=type(error).__name__)
            return
        self._note(op, question, said)

    async def cancel(self, question: Question) -> None:
        """Submit and take back; after 204 nothing but `cancelled` may be seen."""
        op = self._begin("cancel", question, LIMIT_S)
        request = await self._accepted(op, question, LIMIT_S)
        if not request:
            return
        await asyncio.sleep(self.dice.uniform(0.0, 0.1))
        try:
            said = await self.door.ask("DELETE", f"/v2/requests/{request}")
        except BROKEN as error:
            op.note("info", request=request, note=f"DELETE: {type(error).__name__}")
            return
        if said.status == 204:
            op.note("ok", request=request, state="cancelled", status=204)
        elif said.status not in (409, *REFUSALS):
            op.note("ok", request=request, state="lost", status=said.status, code=said.code)

    async def keyed(self, question: Question) -> None:
        """With an idempotency key: ask again until there is an answer, some at the same time."""
        key = f"{self.mark}-{self.dice.getrandbits(64):x}"
        twice = 2 if self.dice.random() < 0.3 else 1
        await asyncio.gather(*(self._insist(question, key) for _ in range(twice)))

    async def stream(self, question: Question) -> None:
        """Through the stream door, answered on a stream; written again if nobody knows."""
        op = self._begin("stream", question, LIMIT_S)
        name = f"{self.mark}-{op.number}"
        fields: dict[Any, Any] = {
            "model": question.model.name, "body": question.json(), "id": name,
            "timeout": int(LIMIT_S * 1e6), "reply_to": self.answers.stream,
        }  # fmt: skip
        self.answers.expect(name, op, question)
        while True:
            try:
                await self.redis.xadd(self.keys.ingress, fields)
                break
            except redis.exceptions.RedisError as error:
                op.note("info", note=type(error).__name__)
                await asyncio.sleep(RETRY_S)
        op.note("ok", state=ACCEPTED)
        await self.answers.wait(name, LIMIT_S + 10)

    def _begin(self, kind: str, question: Question, limit_s: float, key: str = "") -> Op:
        op = self.history.begin(kind, question.model.name, limit_s, key)
        self.questions[op.number] = question
        return op

    async def _insist(self, question: Question, key: str) -> None:
        op = self._begin("keyed", question, LIMIT_S, key)
        body, headers = question.binary(LIMIT_S)
        headers["Idempotency-Key"] = key
        for _ in range(200):
            try:
                said = await self.door.ask("POST", _path(question), body, headers)
            except BROKEN as error:
                op.note("info", note=type(error).__name__)
            else:
                await self._told(op, question, said)
                if said.status not in REFUSALS or (said.worker and said.code in FAILURES):
                    return
            await asyncio.sleep(RETRY_S)

    async def _accepted(self, op: Op, question: Question, limit_s: float) -> str:
        body, headers = question.binary(limit_s)
        headers["Prefer"] = "respond-async"
        try:
            said = await self.door.ask("POST", _path(question), body, headers)
        except BROKEN as error:
            op.note("info", note=type(error).__name__)
            return ""
        if said.status != 202:
            self._note(op, question, said)
            return ""
        request = str(said.document["id"])
        op.note("ok", request=request, state=ACCEPTED, status=202)
        return request

    async def _poll(self, op: Op, question: Question, request: str) -> None:
        while True:
            try:
                said = await self.door.ask("GET", f"/v2/requests/{request}?wait={POLL_S}")
            except BROKEN:
                await asyncio.sleep(RETRY_S)
                continue
            if said.status in REFUSALS:
                await asyncio.sleep(RETRY_S)
            elif said.status != 200:
                op.note("ok", request=request, state="lost", status=said.status, code=said.code)
                return
            elif said.document["status"] in TERMINAL:
                _note_ended(op, question, request, said.document)
                return

    async def _told(self, op: Op, question: Question, said: Said) -> None:
        """A stopping gateway hands over those who wait: 202, and they ask another one."""
        self._note(op, question, said)
        if said.status == 202:
            await self._poll(op, question, str(said.document["id"]))

    def _note(self, op: Op, question: Question, said: Said) -> None:
        """What an infer request was answered."""
        seen: dict[str, Any] = {
            "request": said.request, "status": said.status, "code": said.code,
            "worker": said.worker,
        }  # fmt: skip
        if said.status == 200:
            right = question.right(said.outputs)
            op.note("ok", state="succeeded", right=right, **seen)
        elif said.status == 202:
            op.note("ok", state=ACCEPTED, **(seen | {"request": said.document["id"]}))
        elif said.code == "outcome_unknown":
            op.note("info", **seen)
        elif said.worker and said.code in FAILURES:
            op.note("ok", state="failed", **seen)
        elif said.status in REFUSALS:
            told = "Retry-After" in said.headers
            op.note("fail", **seen, note="" if told else "no Retry-After")
        else:
            state = {504: "expired", 409: "cancelled"}.get(said.status, "failed")
            op.note("ok", state=state, **seen, note=said.body[:200].decode(errors="replace"))


def _note_ended(op: Op, question: Question, request: str, document: dict[str, Any]) -> None:
    state = document["status"]
    right = state != "succeeded" or question.right(outputs_of(document["response"]))
    op.note(
        "ok", request=request, state=state, code=document.get("code", ""), right=right,
        worker=document.get("worker", ""), status=200, note=document.get("error", ""),
    )  # fmt: skip


def _path(question: Question) -> str:
    return f"/v2/models/{question.model.name}/infer"
