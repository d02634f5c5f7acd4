"""Asks every sample model a real question, cold and then warm, checks and shows both answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich import box
from rich.table import Table
from rich.text import Text

from deploy.samples.store import BuiltSample
from warmroute import Client, ClientError, Result
from warmroute.framing import Array

COLD_TIMEOUT_S = 120.0


class Askable(Protocol):
    """The part of a sample that is used here (`deploy.samples.store.BuiltSample`)."""

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
    """One row per sample, in order; a failed request makes a row whose answer is wrong.

    `progress` gets the name of each model before it is asked, the number of those before it, and
    the number of all."""
    rows: list[Row] = []
    for sample in samples:
        progress(sample.name, len(rows), len(samples))
        try:
            rows.append(ask(client, sample))
        except ClientError as error:
            rows.append(Row(sample.name, f"failed: {error.message}", right=False))
    return rows


def ask(client: Client, sample: Askable) -> Row:
    """The same question twice: the first may have to wait for the model, the second must not."""
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


def table(rows: Sequence[Row]) -> Table:
    """One line per model. A wrong answer is marked, in words too, as colour is not enough."""
    columns = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    columns.add_column("model")
    columns.add_column("what it said", overflow="fold")
    columns.add_column("cold ms", justify="right")
    columns.add_column("warm ms", justify="right")
    columns.add_column("worker")
    for row in rows:
        said = Text(row.said) if row.right else Text(f"WRONG: {row.said}", style="red")
        columns.add_row(row.model, said, _ms(row.cold_ms), _ms(row.warm_ms), row.worker or "-")
    return columns


def capacity(samples: Sequence[BuiltSample], workers: int, memory_bytes: int) -> str:
    """How much is published, and how much of it the workers can hold."""
    distinct = {file.sha256: file.size for sample in samples for file in sample.stamp.files}
    there = f"{len(samples)} models are published, {sum(distinct.values()) / 1e6:,.0f} MB"
    each = (
        f" with {memory_bytes / 1e6:,.0f} MB each" if memory_bytes else ""
    )  # 0: each worker decides
    return f"{there}; {workers} workers{each} hold what is asked for"


def _timed(client: Client, model: str, inputs: dict[str, Array]) -> tuple[Result, float]:
    began = time.perf_counter()
    result = client.infer(model, inputs, timeout=COLD_TIMEOUT_S)
    return result, (time.perf_counter() - began) * 1000


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
