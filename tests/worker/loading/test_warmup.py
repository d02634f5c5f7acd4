"""Warm-up and trial of a new copy."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from shared.errors import LoadFailed, ModelFailed
from shared.manifest import Batching, Manifest
from tests.helpers.factories import file_entry, manifest, spec
from worker.device.base import DeviceOutOfMemory
from worker.loading.warmup import Ready, Warmup, program_key
from worker.serving.batch_tensors import Arrays
from worker.trial.batches import INDEPENDENT, LONGEST_S, TRIAL_BATCH, UNPROVED

PROGRAM = [file_entry("program.json", "p"), file_entry("weights/0.safetensors", "a")]
ALONE = Batching(max_size=1)


class Stopwatch:
    """The time that a trial measures: it passes in the calls of a model alone."""

    now = 0.0


@pytest.fixture(autouse=True)
def _only_calls_take_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: Stopwatch.now)


class Model:
    """A model that notes its calls. By default `y` is `x`, and a call takes as long as told."""

    bytes_resident = 0
    shared: dict[str, int] = {}  # noqa: RUF012 - never changed

    def __init__(
        self, answer: Callable[[Arrays], Arrays] | None = None,
        seconds: Callable[[int], float] = lambda rows: 0.0001,
    ) -> None:  # fmt: skip
        self.calls: list[Arrays] = []
        self._answer = answer or (lambda inputs: {"y": inputs["x"]})
        self._seconds = seconds

    def run(self, inputs: Arrays) -> Arrays:
        self.calls.append(inputs)
        Stopwatch.now += self._seconds(len(inputs["x"]))
        return self._answer(inputs)

    def unload(self) -> None:
        """Nothing to free."""


def batched(**changes: object) -> Manifest:
    """A model of program `p` that may be batched."""
    return manifest(**{"files": PROGRAM, "batching": Batching(max_size=32), **changes})


def test_a_batch_that_pays_is_used() -> None:
    """A call of any size takes as long as one: the manifest's limits stand."""
    model = Model(seconds=lambda rows: 0.002)
    assert Warmup().run(batched(), model) == Ready(Batching(max_size=32), INDEPENDENT)
    assert {len(call["x"]) for call in model.calls} == set(range(1, TRIAL_BATCH + 1))


def rows_of(model: Model) -> list[int]:
    return [len(call["x"]) for call in model.calls]


def test_a_gpu_runs_full_batches_too() -> None:
    """Its kernels are chosen by size. Up to the largest one, for the first copy of a program."""
    warmup, model, later = Warmup(fills=True), Model(seconds=lambda rows: 0.002), Model()
    assert warmup.run(batched(batching=Batching(max_size=48)), model).batching.max_size == 48
    assert rows_of(model)[-3:] == [16, 32, 48]
    assert warmup.run(batched(), later).batching.max_size == 32 and later.calls == []
    alone = Model(seconds=lambda rows: 0.001 * rows * rows)
    Warmup(fills=True).run(batched(), alone)
    assert max(rows_of(alone)) <= TRIAL_BATCH  # no batch is used


def test_full_batches_of_a_slow_model_are_left_to_its_callers() -> None:
    """The device serves no request meanwhile."""
    model = Model(seconds=lambda rows: 0.01 + 0.006 * rows)
    Warmup(fills=True).run(batched(batching=Batching(max_size=512)), model)
    assert rows_of(model)[-1] == 32


def test_a_batch_with_which_a_program_fails_is_not_used() -> None:
    """Nor by its variants, whose limits are larger. One that found no memory says nothing."""

    def failing(error: Exception) -> Model:
        def answer(inputs: Arrays) -> Arrays:
            if len(inputs["x"]) > 16:
                raise error
            return {"y": inputs["x"]}

        return Model(answer, seconds=lambda rows: 0.002)

    warmup = Warmup(fills=True)
    assert warmup.run(batched(), failing(ModelFailed("too large"))).batching.max_size == 16
    wide = batched(batching=Batching(max_size=64))
    assert warmup.run(wide, Model()).batching.max_size == 16
    full = failing(DeviceOutOfMemory("full"))
    assert Warmup(fills=True).run(batched(), full).batching.max_size == 32


def test_a_batch_that_does_not_pay_is_not_used() -> None:
    """Each row takes its time, so requests run one by one and answer sooner."""
    model = Model(seconds=lambda rows: 0.001 * rows * rows)
    assert Warmup().run(batched(), model).batching.max_size == 1


def test_a_batch_that_fails_does_not_pay() -> None:
    """The copy serves one by one: each single request works."""

    def answer(inputs: Arrays) -> Arrays:
        if len(inputs["x"]) > 1:
            raise ModelFailed("out of memory")
        return {"y": inputs["x"]}

    assert Warmup().run(batched(), Model(answer)).batching.max_size == 1


def test_a_model_that_is_not_batched_runs_once() -> None:
    """There is nothing to try."""
    model = Model()
    assert Warmup().run(manifest(batching=ALONE), model).batching.max_size == 1
    assert len(model.calls) == 1


def test_a_variant_of_a_program_that_has_run_is_served_as_the_first_was() -> None:
    """Within its own limits, and at once: the guard proves it with the first idle moment."""
    warmup, later = Warmup(), Model()
    warmup.run(batched(), Model(seconds=lambda rows: 0.002))
    own = Batching(max_size=8, max_wait_ms=5)
    found = warmup.run(batched(name="other", batching=own), later)
    assert (found.batching, found.finding, found.unproved) == (own, "", True)
    assert later.calls == []


def test_a_manifest_that_says_something_else_of_a_program_is_tried() -> None:
    """It may be wrong about it: then it must not serve."""
    warmup = Warmup()
    warmup.run(batched(), Model(seconds=lambda rows: 0.002))
    with pytest.raises(LoadFailed, match="want"):
        warmup.run(batched(outputs=[spec("y", "FP32", [-1, 7])]), Model())


def test_what_is_known_of_a_digest_is_not_tried_again() -> None:
    """Another worker, or an earlier load, has found it out."""
    warmup, later = Warmup(), Model()
    warmup.run(batched(), Model(seconds=lambda rows: 0.002))
    assert warmup.run(batched(), later, INDEPENDENT) == Ready(Batching(max_size=32), INDEPENDENT)
    assert warmup.run(batched(), later, "it sorts") == Ready(ALONE, "it sorts")
    assert later.calls == []
    first = Model(seconds=lambda rows: 0.002)
    assert Warmup().run(batched(), first, "it sorts") == Ready(ALONE, "it sorts")
    assert len(first.calls) == 1
    assert Warmup().run(batched(), first, INDEPENDENT).batching.max_size == 32


def whitened(inputs: Arrays) -> Arrays:
    return {"y": inputs["x"] - inputs["x"].mean(0)}


def test_a_model_that_mixes_rows_is_served_one_by_one() -> None:
    """And so is what is known to be one of them, whatever another variant has shown."""
    warmup = Warmup()
    found = warmup.run(batched(), Model(whitened))
    assert "depends on the other rows" in found.finding
    assert found.batching == ALONE
    assert found.unbatched == found.finding
    assert warmup.run(batched(), Model(seconds=lambda rows: 0.002)).batching.max_size == 32
    assert warmup.run(batched(), Model(whitened), found.finding).batching == ALONE


def test_a_model_that_is_too_slow_for_a_trial_is_not_batched() -> None:
    """And nothing is found of its rows."""
    model = Model(seconds=lambda rows: LONGEST_S / 2 + 0.01)
    assert Warmup().run(batched(), model) == Ready(ALONE)
    assert len(model.calls) == 4


def test_a_slow_model_is_batched_as_far_as_it_was_tried() -> None:
    """In about as many calls as are needed to time it; a real request may show more."""
    model = Model(seconds=lambda rows: 0.11)
    found = Warmup().run(batched(), model)
    assert (found.batching, found.finding, found.unproved) == (Batching(max_size=2), "", True)
    assert {len(call["x"]) for call in model.calls} == {1, 2}
    assert len(model.calls) <= 11


def test_a_model_that_takes_no_other_rows_than_ours_is_not_proved() -> None:
    """Rows that are all the same prove nothing."""

    def only_zeros(inputs: Arrays) -> Arrays:
        if inputs["x"].any():
            raise ModelFailed("zeros, please")
        return {"y": inputs["x"]}

    assert Warmup().run(batched(), Model(only_zeros)) == Ready(ALONE, UNPROVED)


def test_a_model_that_is_not_deterministic_is_not_batched() -> None:
    """Nothing can be proved of it."""
    random = np.random.default_rng(1)
    model = Model(lambda inputs: {"y": random.random(inputs["x"].shape).astype("<f4")})
    assert "not deterministic" in Warmup().run(batched(), model).unbatched


def test_a_model_that_takes_nothing_of_ours_is_served_one_by_one() -> None:
    """It is loaded, and why it is cold is told."""
    model = Model(broken)
    assert Warmup().run(batched(), model) == Ready(ALONE, cold="it raised")


def test_a_variant_that_forbids_batches_says_nothing_about_the_others() -> None:
    """The first that may be batched is tried."""
    warmup, model = Warmup(), Model(seconds=lambda rows: 0.002)
    assert warmup.run(batched(batching=ALONE), Model()).batching.max_size == 1
    assert warmup.run(batched(), model).batching.max_size == 32
    assert warmup.run(batched(batching=ALONE), Model()).batching.max_size == 1
    assert warmup.run(batched(), Model()).batching.max_size == 32


def broken(inputs: Arrays) -> Arrays:
    raise ModelFailed("it raised")


def test_what_failed_is_not_remembered() -> None:
    """The next variant is tried."""
    warmup, model = Warmup(), Model()
    assert warmup.run(batched(batching=ALONE), Model(broken)).cold == "it raised"
    warmup.run(batched(batching=ALONE), model)
    assert len(model.calls) == 1


def test_variants_share_what_they_are_compiled_from() -> None:
    """The program, or the architecture with its settings; whole models share nothing."""
    assert program_key(batched()) == program_key(batched(name="other", licence="MIT")) == "p" * 64
    settings = {"architecture": "bert", "arch.layers": 6}
    one = manifest(platform="pytorch_architecture", parameters=settings)
    other = manifest(platform="pytorch_architecture", parameters=settings | {"arch.layers": 12})
    assert program_key(one) == program_key(one) != program_key(other)
    assert program_key(manifest(platform="onnxruntime_onnx")) == ""
