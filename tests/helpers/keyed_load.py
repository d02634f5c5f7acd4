"""Requests under keys, each repeated until it is accepted, whatever happens meanwhile: those that a
fleet has must be those that were accepted, one for each key.
"""

from __future__ import annotations

import itertools
import threading
import time

from tests.helpers.models import Mlp
from tests.helpers.wait import block_until
from warmroute import Client, ClientError

THREADS = 3
SLOT_S = 0.01


class KeyedLoad:
    """Threads that submit until they are stopped; `ids` by key, and what each was."""

    def __init__(self, models: list[Mlp], url: str) -> None:
        self.models = models
        self.url = url
        self.ids: dict[str, set[str]] = {}
        self.asked: dict[str, tuple[Mlp, int]] = {}
        self.refused: dict[str, int] = {}
        self._number = itertools.count()
        self._stop, self._failed = threading.Event(), False
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]

    def __enter__(self) -> KeyedLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *raised: object) -> None:
        self._failed = kind is not None
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        waiting: list[str] = []
        while not self._stop.is_set() or (waiting and not self._failed):
            if not self._stop.is_set():
                number = next(self._number)
                key = f"key-{number}"
                self.asked[key] = self.models[number % len(self.models)], number
                waiting.append(key)
            waiting = [key for key in waiting if not self._accepted(key)]
            time.sleep(SLOT_S)

    def _accepted(self, key: str) -> bool:
        model, number = self.asked[key]
        try:
            with Client(self.url, retries=0, timeout=5) as client:
                pending = client.submit(
                    model.name, model.question(number), idempotency_key=key, timeout=600
                )
        except ClientError:
            self.refused[model.name] = self.refused.get(model.name, 0) + 1
            return False
        self.ids.setdefault(key, set()).add(pending.id)
        return True

    def wait_for(self, more: int) -> None:
        """Until so many more have been accepted."""
        until = len(self.ids) + more
        block_until(lambda: len(self.ids) >= until, within_s=60)

    def check(self) -> set[str]:
        """No request was lost or doubled, and all answers are right; their ids."""
        assert [ids for ids in self.ids.values() if len(ids) > 1] == []
        assert self.ids.keys() == self.asked.keys()
        with Client(self.url, timeout=60) as client:
            for key, (request_id,) in ((key, tuple(ids)) for key, ids in self.ids.items()):
                model, number = self.asked[key]
                said = client.pending(request_id).result(timeout=60)
                assert model.right(model.question(number), said["y"]), key
        return {request_id for ids in self.ids.values() for request_id in ids}
