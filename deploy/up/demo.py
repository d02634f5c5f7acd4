"""Asks every sample model a real question, cold and then warm, and checks both answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from warmroute import Client, ClientError, Result
from warmroute.framing import Array

COLD_TIMEOUT_S = 120.0


class Askable(Protocol):
    """What the demonstration needs of a sample (`deploy.samples.store.BuiltSample`)."""

    @property
    def name(self) -> str: ...
    def sample_request(self) -> dict[str, Array]: ...
    def say(self, outputs: dict[str, Array]) -> str: ...
    def right(self, outputs: dict[str, Array]) -> bool: ...


@dataclass(frozen=True)
class Row:
    """One model's line of the table. `cold_ms` is None if it was in memory already."""

    model: str
    said: str
    right: bool
    cold_ms: float | None = None
    warm_ms: float | None = None
    worker: str | None = None

    def document(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def ask_all(
    client: Client, samples: Sequence[Askable], progress: Callable[[str, int, int], None]
) -> list[Row]:
    """One row per sample, in order; a request that fails is a row too, and not a right one.

    `progress` is told which model is asked, how many were before it, and how many there are."""
    rows: list[Row] = []
    for sample in samples:
        progress(sample.name, len(rows), len(samples))
        try:
            rows.append(ask(client, sample))
        except ClientError as error:
            rows.append(Row(sample.name, f"failed: {error.message}", right=False))
    return rows


def ask(client: Client, sample: Askable) -> Row:
    """The same question twice: the first finds the model wherever it is, the second in memory."""
    inputs = sample.sample_request()
    first, first_ms = _timed(client, sample.name, inputs)
    second, second_ms = _timed(client, sample.name, inputs)
    return Row(
        model=sample.name,
        said=sample.say(second.outputs),
        right=sample.right(first.outputs) and sample.right(second.outputs),
        cold_ms=first_ms if first.cold else None,
        warm_ms=None if second.cold else second_ms,
        worker=second.worker,
    )


def _timed(client: Client, model: str, inputs: dict[str, Array]) -> tuple[Result, float]:
    began = time.perf_counter()
    result = client.infer(model, inputs, timeout=COLD_TIMEOUT_S)
    return result, (time.perf_counter() - began) * 1000
