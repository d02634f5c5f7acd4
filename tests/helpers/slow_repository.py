"""A repository in memory that keeps callers waiting for some models, or for its list."""

from __future__ import annotations

import threading

from shared.repository import Listed
from tests.helpers.repository import FakeRepository

LIST = "*"
PATIENCE_S = 20.0


class SlowRepository(FakeRepository):
    """What `slow` names is answered when it is `let_go`: models, or LIST."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: set[str] = set()
        self.waiting: list[str] = []
        self._go = threading.Event()

    def let_go(self) -> None:
        """Answer everybody, from now on."""
        self._go.set()

    def list_all(self) -> list[Listed]:
        self._delay(LIST)
        return super().list_all()

    def list_versions(self, model: str) -> list[int]:
        self._delay(model)
        return super().list_versions(model)

    def read_manifest(self, model: str, version: int) -> bytes:
        self._delay(model)
        self._delay(f"{model}:{version}")
        return super().read_manifest(model, version)

    def _delay(self, what: str) -> None:
        if what in self.slow and not self._go.is_set():
            self.waiting.append(what)
            assert self._go.wait(PATIENCE_S), "nobody let the callers go on"
