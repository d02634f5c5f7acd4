"""One device call as its parent process sees it."""

from __future__ import annotations

import numpy as np
import pytest

from shared.envelope import Envelope
from shared.errors import InvalidInput, ModelFailed
from shared.footprint import Footprint
from shared.manifest import TensorSpec
from tests.helpers.factories import REF, manifest, tensor, work
from worker.residency.copies import Copy
from worker.serving import execution
from worker.serving.batch_tensors import Arrays
from worker.serving.execution import DeviceCall
from worker.supervisor.progress import Progress


class Model:
    """It notes which batch is said to run while it runs, and raises what it is told to."""

    bytes_resident = 0
    shared: dict[str, int] = {}  # noqa: RUF012 - never changed

    def __init__(self, progress: Progress, error: Exception | None = None) -> None:
        self.progress, self.error = progress, error
        self.seen: list[tuple[int, float]] = []

    def run(self, inputs: Arrays) -> Arrays:
        self.seen.append((self.progress.running, self.progress.overdue_at))
        if self.error is not None:
            raise self.error
        return {"y": inputs["x"]}

    def unload(self) -> None:
        """Nothing to free."""


def copy_of(model: Model) -> Copy:
    return Copy(REF, manifest(), model, Footprint(frozenset(), 0))


def test_while_the_model_runs_its_batch_is_known() -> None:
    """With the moment from which on it takes too long; afterwards none runs."""
    progress = Progress()
    model = Model(progress)
    (outcome,) = execution.run(copy_of(model), [work()], DeviceCall(progress, 7, 123.5))
    assert np.frombuffer(outcome.outputs[0].data, "<f4").tolist() == [0, 0]
    assert model.seen == [(7, 123.5)]
    assert progress.running == 0


def test_a_value_out_of_range_never_reaches_the_model() -> None:
    """On a GPU it would end the process with every model on it. An entry may come from a gateway
    that knows no ranges."""
    progress = Progress()
    model = Model(progress)
    ids = TensorSpec("x", "INT64", [-1, 2], minimum=0, maximum=9)
    copy = Copy(REF, manifest(inputs=[ids]), model, Footprint(frozenset(), 0))
    bad = work(envelope=Envelope([tensor(np.array([[3, 10]]))]))
    with pytest.raises(
        InvalidInput, match=r"input 'x'\.data: element 1 is 10, the model takes 0 to"
    ):
        execution.run(copy, [bad], DeviceCall(progress, 7, 123.5))
    assert model.seen == []


def test_a_model_that_raises_runs_no_more() -> None:
    """The process lives, so nobody must think that the batch is still on the device."""
    progress = Progress()
    model = Model(progress, ModelFailed("a bad row"))
    with pytest.raises(ModelFailed, match="a bad row"):
        execution.run(copy_of(model), [work()], DeviceCall(progress, 7, 123.5))
    assert (model.seen, progress.running) == ([(7, 123.5)], 0)


def test_the_cause_of_a_failure_is_looked_for_while_its_batch_counts_as_running() -> None:
    """So its parent knows which batch to charge if this process ends."""
    progress, seen = Progress(), []
    model = Model(progress, RuntimeError("CUDA error: unknown error"))
    call = DeviceCall(progress, 7, 123.5, REF, lambda e: seen.append((str(e), progress.running)))
    with pytest.raises(RuntimeError):
        execution.run(copy_of(model), [work()], call)
    assert seen == [("CUDA error: unknown error", 7)]
