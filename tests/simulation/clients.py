"""Clients of a simulated cell. Each checks what it is told against what it asked.

A connection error leaves a client not knowing; it may ask again under an idempotency key. What it
was promised (200, 202, an entry of the stream) is checked at the end.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.judge.outcomes import TERMINAL
from tests.simulation import crowds
from tests.simulation.fleet import Fleet
from tests.simulation.gateway import Answer
from tests.simulation.kinds import BAD, KINDS, POISON, Kind
from tests.simulation.world import World

PATIENCE_S = 40.0


@dataclass
class Told:
    """What one client asked and heard."""

    number: int
    kind: Kind
    value: float
    timeout_s: float
    key: str = ""
    ids: set[str] = field(default_factory=set)
    ended: dict[str, str] = field(default_factory=dict)  # request -> how


class Clients:
    """Everybody who asks something in one schedule."""

    def __init__(
        self, world: World, fleet: Fleet, seed: int, count: int, over_s: float,
        lead: Collection[str] = (),
    ) -> None:  # fmt: skip
        """`lead`: as in `crowds`."""
        self.world = world
        self.fleet = fleet
        self.dice = random.Random(f"{seed} clients")
        self.counts: Counter[str] = Counter()
        self.accepted: set[str] = set()
        self.streamed: dict[str, Told] = {}
        self.told_late: set[str] = set()  # their deadline passed, a gateway said
        self._over_s = over_s
        self._names = self._mix()
        lives = [self._live(number) for number in range(count)]
        crowd = crowds.drawn(self.dice, self._names, over_s, lead)
        for number, (moment_s, name, timeout_s) in enumerate(crowd, count):
            asked = Told(number, KINDS[name], float(number + 1), timeout_s)
            lives.append(self._at(moment_s, asked))
        self.tasks = [world.loop.create_task(life, context=world.network.context) for life in lives]

    async def _at(self, moment_s: float, asked: Told) -> None:
        await asyncio.sleep(moment_s)
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self._wait(asked)

    def _mix(self) -> list[str]:
        """The models of this schedule: a few often, those with faults now and then."""
        usual = self.dice.sample(["small", "medium", "big"], self.dice.randint(1, 3))
        names = usual * 6
        for odd in ("broken", "huge", "deadly"):
            if self.dice.random() < 0.25:
                names.append(odd)
        if self.dice.random() < 0.15:  # one version crashes again and again
            names += ["deadly"] * 8
        return names

    async def _live(self, number: int) -> None:
        dice = self.dice
        asked = Told(
            number, KINDS[dice.choice(self._names)], self._value(number),
            dice.choice([0.05, 0.5, 3.0, 8.0, 8.0]),
        )  # fmt: skip
        way = dice.choice([self._wait, self._wait, self._leave, self._submit, self._submit,
                           self._cancel, self._again, self._stream])  # fmt: skip
        await asyncio.sleep(dice.uniform(0, self._over_s) if dice.random() < 0.8 else 0.5)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await way(asked)
        except (ConnectionError, TimeoutError):
            self.counts["left without an answer"] += 1

    def _value(self, number: int) -> float:
        drawn = self.dice.random()
        if drawn < 0.04:
            return POISON
        return BAD if drawn < 0.1 else float(number + 1)

    # Ways to ask -------------------------------------------------------------------------------

    async def _wait(self, asked: Told) -> None:
        await self._heard(asked, await self._infer(asked))

    async def _leave(self, asked: Told) -> None:
        """Hang up after a while."""
        task = asyncio.ensure_future(self._infer(asked))
        await asyncio.wait([task], timeout=self.dice.expovariate(3))
        if task.done():
            await self._heard(asked, task.result())
        else:
            self.counts["hung up"] += 1
            task.cancel()

    async def _submit(self, asked: Told) -> None:
        answer = await self._infer(asked, Prefer="respond-async")
        await self._heard(asked, answer)
        if answer.status == 202:
            await self._poll(asked, answer)

    async def _cancel(self, asked: Told) -> None:
        answer = await self._infer(asked, Prefer="respond-async")
        await self._heard(asked, answer)
        if answer.status != 202:
            return
        await asyncio.sleep(self.dice.expovariate(3))
        gone = await self._persist("DELETE", answer.headers["Location"])
        self.counts[f"DELETE {gone.status}"] += 1
        said = await self._poll(asked, answer)
        if gone.status == 204 and said != "cancelled":
            self._wrong(asked, f"was cancelled, but {said}")

    async def _again(self, asked: Told) -> None:
        """The same question several times under one key, at once or later; and another."""
        asked.key = f"key-{asked.number}"
        prefer = self.dice.choice([{}, {"Prefer": "respond-async"}])
        tries = [self._insist(asked, prefer) for _ in range(self.dice.randint(2, 3))]
        for answer in await asyncio.gather(*tries):
            await self._heard(asked, answer)
            if answer.status == 202:
                await self._poll(asked, answer)
        other = Told(asked.number, asked.kind, asked.value + 0.5, 3.0, asked.key)
        answer = await self._insist(other, prefer)
        taken = answer.headers.get("Warmroute-Request-Id") if answer.status in (200, 202) else ""
        if taken and taken in asked.ids:
            self._wrong(asked, "another question joined under its key")

    async def _insist(self, asked: Told, prefer: dict[str, str]) -> Answer:
        """With a key a client may ask until it hears something."""
        await asyncio.sleep(self.dice.expovariate(2))
        while True:
            try:
                return await self._infer(asked, **prefer)
            except ConnectionError:
                self.counts["asked again"] += 1
                await asyncio.sleep(self.dice.uniform(0.1, 1.0))

    async def _stream(self, asked: Told) -> None:
        """Write to the stream door. The answer is looked for at the end."""
        fields = ["model", asked.kind.name, "body", json.dumps(_document(asked)), "reply_to",
                  f"answers:{asked.number}", "id", f"n{asked.number}"]  # fmt: skip
        self.world.server.run_unseen(["XADD", self.world.keys.ingress, "*", *fields])
        self.streamed[f"answers:{asked.number}"] = asked
        self.world.network.wake(self.world.keys.ingress)

    async def _infer(self, asked: Told, **headers: str) -> Answer:
        if asked.key:
            headers["Idempotency-Key"] = asked.key
        path = f"/v2/models/{asked.kind.name}/infer"
        return await self.fleet.ask("POST", path, json.dumps(_document(asked)).encode(), headers)

    async def _persist(self, method: str, path: str) -> Answer:
        """Ask until some gateway answers."""
        while True:
            try:
                answer = await self.fleet.ask(method, path)
                if answer.status != 503:
                    return answer
            except ConnectionError:
                pass
            await asyncio.sleep(self.dice.uniform(0.1, 1.0))

    # What they hear ----------------------------------------------------------------------------

    async def _heard(self, asked: Told, answer: Answer) -> None:
        code = answer.headers.get("Warmroute-Error", "")
        self.counts[f"{answer.status} {code}".strip()] += 1
        request_id = answer.headers.get("Warmroute-Request-Id", "")
        if answer.status in (200, 202):
            self.accepted.add(request_id)
            asked.ids.add(request_id)
        if code == "expired" and request_id:
            self.told_late.add(request_id)
        if answer.status == 200:
            self._check(asked, json.loads(answer.body))
        if answer.status == 500 and code not in ("model_failed", "dead_lettered"):
            self._wrong(asked, f"an internal error: {answer.body!r}")

    async def _poll(self, asked: Told, accepted: Answer) -> str:
        """Ask until it has ended; how."""
        while True:
            wait = f"?wait={self.dice.choice(['0', '1', '3'])}"
            answer = await self._persist("GET", accepted.headers["Location"] + wait)
            if answer.status != 200:
                self._wrong(asked, f"accepted, then {answer.status} {answer.body!r}")
                return ""
            shown = json.loads(answer.body)
            if shown["status"] in TERMINAL:
                break
            await asyncio.sleep(self.dice.uniform(0.1, 1.0))
        before = asked.ended.setdefault(shown["id"], shown["status"])
        if before != shown["status"]:
            self._wrong(asked, f"{shown['id']} was {before}, then {shown['status']}")
        if shown["status"] == "succeeded":
            self._check(asked, shown["response"])
        return str(shown["status"])

    def _check(self, asked: Told, document: dict[str, Any]) -> None:
        want = asked.kind.answer(asked.value)
        said = document["outputs"][0]["data"][0]
        if said != want or document["model_name"] != asked.kind.name:
            self.world.history.violated(
                f"I22: client {asked.number} got {said} from {document['model_name']}, want {want}"
            )

    def _wrong(self, asked: Told, text: str) -> None:
        self.world.history.violated(f"client {asked.number} ({asked.kind.name}): {text}")


def _document(asked: Told) -> dict[str, Any]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [asked.value, 1.0]}
    return {"inputs": [tensor], "parameters": {"timeout": round(asked.timeout_s * 1e6)}}
