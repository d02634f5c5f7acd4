"""Callers of a warm model, some who wait and some who poll, while a fault goes on around them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.helpers.models import Mlp
from tests.helpers.wait import block_until
from warmroute import Client

PATIENCE_S = 40


@dataclass
class Load:
    """Callers who wait and callers who poll, one after the other, until told to stop."""

    client: Client
    model: Mlp
    answered: int = 0
    refused: int = 0
    wrong: int = 0
    longest_s: float = 0.0
    accepted: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def wait_for_answers(self) -> None:
        seed = 0
        while not self.stop.is_set():
            seed += 1
            question, begun = self.model.question(seed), time.monotonic()
            try:
                answer = self.client.infer(self.model.name, question, timeout=20)
                self.answered += 1
                self.wrong += not self.model.right(question, answer["y"])
            except Exception:
                self.refused += 1
                time.sleep(0.05)
            self.longest_s = max(self.longest_s, time.monotonic() - begun)

    def submit(self) -> None:
        seed = 1 << 20
        while not self.stop.is_set():
            seed += 1
            question = self.model.question(seed)
            try:
                pending = self.client.submit(self.model.name, question)
                self.accepted.append((pending, question))
            except Exception:
                self.refused += 1
            time.sleep(0.02)

    def all_end(self) -> None:
        """Every accepted request has the right answer."""
        for pending, question in self.accepted:
            answer = pending.result(timeout=PATIENCE_S)
            assert self.model.right(question, answer["y"])
        assert not self.wrong


@contextmanager
def load(client: Client, model: Mlp) -> Iterator[Load]:
    """Runs while the block does."""
    made = Load(client, model)
    threads = [threading.Thread(target=t) for t in (made.wait_for_answers, made.submit)]
    for thread in threads:
        thread.start()
    try:
        block_until(lambda: made.answered > 3 and len(made.accepted) > 3)
        yield made
    finally:
        made.stop.set()
        for thread in threads:
            thread.join()
