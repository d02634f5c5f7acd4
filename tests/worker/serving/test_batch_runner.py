"""Any batch on any device: who fits alone succeeds, who does not fails alone, in their order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.envelope import Outcome
from shared.errors import InvalidInput, ModelFailed, OutOfMemory, Unavailable, WarmrouteError
from shared.footprint import Footprint
from tests.helpers.factories import REF, manifest, work
from worker.device.base import DeviceOutOfMemory
from worker.health.health import Health
from worker.residency.call_peaks import CallPeaks
from worker.residency.copies import Copy
from worker.residency.gauge import Gauge
from worker.serving.batch_runner import BatchRunner, caller_error, split_failed
from worker.serving.batch_tensors import Arrays
from worker.serving.completions import Result
from worker.serving.load_meter import Meter
from worker.serving.oom_recovery import FreeMemory, OomRecovery, nothing_to_free
from worker.serving.queued_request import QueuedRequest
from worker.serving.redis_clock import RedisClock
from worker.serving.turns import ALWAYS, Order, Turn
from worker.supervisor.progress import Progress

FULL = DeviceOutOfMemory("the device has no memory left for this")
Refuse = Callable[[list[float]], Exception | None]


class Model:
    """`y` is `x` doubled, unless `refuse` raises for the first numbers of the rows."""

    bytes_resident = 0
    shared: dict[str, int] = {}  # noqa: RUF012 - never changed

    def __init__(self, refuse: Refuse) -> None:
        self.refuse = refuse
        self.calls: list[list[float]] = []

    def run(self, inputs: Arrays) -> Arrays:
        rows = inputs["x"][:, 0].tolist()
        self.calls.append(rows)
        if error := self.refuse(rows):
            raise error
        return {"y": inputs["x"] * 2}

    def unload(self) -> None:
        """Nothing to free."""


class Widened(Model):
    """One column more than the manifest says for all rows, as soon as one of them is negative."""

    def run(self, inputs: Arrays) -> Arrays:
        doubled = super().run(inputs)["y"]
        return {"y": np.pad(doubled, ((0, 0), (0, int((doubled < 0).any()))))}


class Here:
    """A device thread that is this one."""

    async def run(self, call: Callable[[], Any], order: Order) -> Any:
        return call()

    def examine(self, error: Exception, requests: int) -> None:
        """It is sound."""


class Start:
    """The start of a batch, in which the entries in `gone` are not wanted any more."""

    number = 1

    def __init__(self, batch: list[QueuedRequest], gone: set[bytes]) -> None:
        self.turn = Turn(batch, ALWAYS)
        self.gone = gone

    def take_up(self, requests: Sequence[QueuedRequest]) -> list[QueuedRequest]:
        return [request for request in requests if request.entry not in self.gone]


def results(
    model: Model,
    values: list[float],
    free_memory: FreeMemory = nothing_to_free,
    meter: Meter | None = None,
    withdrawn: Sequence[int] = (),
) -> list[float | str]:  # fmt: skip
    """What becomes of a request for each value: its answer, or the code of its error. Those at the
    places `withdrawn` are not wanted any more."""
    parts: Any = SimpleNamespace(
        thread=Here(),
        progress=Progress(),
        meter=meter or Meter(),
        gauge=Gauge(lambda: None),
        peaks=CallPeaks(),
        health=Health(),
    )
    redis_clock = RedisClock()
    redis_clock.observe(0)
    runner = BatchRunner(parts, redis_clock, OomRecovery(free_memory, nullcontext))
    batch = [work(np.array([[value, 0]], "<f4")) for value in values]
    copy = Copy(REF, manifest(), model, Footprint(frozenset(), 0))
    gone = {batch[place].entry for place in withdrawn}
    return [_seen(result) for result in asyncio.run(runner.run(copy, Start(batch, gone), batch))]


def _seen(result: Result) -> float | str:
    if isinstance(result, Outcome):
        return float(np.frombuffer(result.outputs[0].data, "<f4")[0])
    return result.code


@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=12),
    room=st.integers(0, 60), more=st.none() | st.integers(0, 60),
)  # fmt: skip
def test_a_request_succeeds_if_it_fits_alone_and_else_fails_alone(
    sizes: list[int], room: int, more: int | None
) -> None:
    """Whatever the sizes, whether room can be made, and however much it is. A batch of n takes at
    most 2 n tries."""
    least = room

    def refuse(rows: list[float]) -> Exception | None:
        return FULL if sum(rows) > room else None

    async def free_memory() -> bool:
        nonlocal room
        room += more or 0
        return more is not None

    model = Model(refuse)
    found = results(model, list(map(float, sizes)), free_memory)
    enough = room if sum(sizes) > least else least
    assert found == [2.0 * size if size <= enough else "out_of_memory" for size in sizes]
    assert len(model.calls) <= 2 * len(sizes)


@given(
    kinds=st.lists(st.sampled_from(["fits", "large", "bad"]), min_size=1, max_size=10),
    seed=st.integers(0, 1000),
)
def test_each_request_gets_what_it_would_get_alone(kinds: list[str], seed: int) -> None:
    """Also where batches fail as they like, and for several reasons."""
    dice = random.Random(seed)
    alone = {"fits": None, "large": FULL, "bad": ModelFailed("a bad row")}

    def refuse(rows: list[float]) -> Exception | None:
        errors = [error for row in rows if (error := alone[kinds[int(row)]])]
        if len(rows) > 1:
            errors += dice.choice(([], [FULL], [ModelFailed("it has its moods")]))
        return dice.choice(errors) if errors else None

    codes = {"large": "out_of_memory", "bad": "model_failed"}
    found = results(Model(refuse), list(map(float, range(len(kinds)))))
    assert found == [codes.get(kind, 2.0 * n) for n, kind in enumerate(kinds)]


def test_halves_are_of_equal_length_and_keep_the_order() -> None:
    """The second one has one more of an odd number; what fails otherwise is taken apart at once."""
    assert split_failed([1, 2, 3, 4, 5], FULL) == [[1, 2], [3, 4, 5]]
    assert split_failed([1, 2], FULL) == [[1], [2]]
    assert split_failed([1, 2, 3], ModelFailed("no")) == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FULL, OutOfMemory), (ModelFailed("no"), ModelFailed), (InvalidInput("no"), InvalidInput),
        (Unavailable("a foreign one"), ModelFailed),
    ],
)  # fmt: skip
def test_a_caller_gets_the_error_of_its_request(
    error: WarmrouteError, kind: type[WarmrouteError]
) -> None:
    """Errors of ours that are none of a request become the model's."""
    assert type(caller_error(error)) is kind


def test_what_failed_as_a_batch_counts_once_and_all_its_time_counts() -> None:
    """Four requests were answered, whatever it took."""
    meter = Meter()
    model = Model(lambda rows: FULL if len(rows) > 1 or rows == [3.0] else None)
    assert results(model, [1.0, 2.0, 3.0, 4.0], meter=meter).count("out_of_memory") == 1
    assert meter.hits(REF) == 4 and meter.service_ms > 0


def test_only_whose_output_has_a_wrong_shape_fails() -> None:
    """Its batch-mates are run again without it, and are answered."""
    model = Widened(lambda rows: None)
    assert results(model, [1.0, -2.0, 3.0]) == [2.0, ModelFailed.code, 6.0]
    assert model.calls == [[1.0, -2.0, 3.0], [1.0], [-2.0], [3.0]]
    assert results(model, [-1.0]) == [ModelFailed.code]


@given(
    kinds=st.lists(st.sampled_from(["fits", "bad", "gone"]), min_size=1, max_size=8),
    full=st.booleans(),
)
def test_what_nobody_wants_runs_in_no_try(kinds: list[str], full: bool) -> None:
    """Neither in the batch, nor in a part of it after a failure."""

    def refuse(rows: list[float]) -> Exception | None:
        if any(kinds[int(row)] == "bad" for row in rows):
            return FULL if full and len(rows) > 1 else ModelFailed("a bad row")
        return None

    model = Model(refuse)
    withdrawn = [n for n, kind in enumerate(kinds) if kind == "gone"]
    found = results(model, list(map(float, range(len(kinds)))), withdrawn=withdrawn)
    codes = {"bad": "model_failed", "gone": "cancelled"}
    assert found == [codes.get(kind, 2.0 * n) for n, kind in enumerate(kinds)]
    assert not {int(row) for rows in model.calls for row in rows} & set(withdrawn)
