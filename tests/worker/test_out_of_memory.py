"""F19: a device without memory for a batch. Its requests run one by one, the worker lives on."""

from __future__ import annotations

import pytest

from tests.helpers.consuming import Worker
from worker.device.base import DeviceOutOfMemory
from worker.tensors import Arrays


def limit(worker: Worker, monkeypatch: pytest.MonkeyPatch, rows: int) -> list[int]:
    """Let the device have room for so many rows at once; the sizes of the calls that failed."""
    run, failed = worker.model.run, []

    def limited(inputs: Arrays) -> Arrays:
        if len(inputs["x"]) > rows:
            failed.append(len(inputs["x"]))
            raise DeviceOutOfMemory("the device has no memory left for this")
        return run(inputs)

    monkeypatch.setattr(worker.model, "run", limited)
    return failed


async def test_a_batch_too_large_for_the_device_runs_one_by_one(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told of it."""
    failed = limit(worker, monkeypatch, rows=1)
    ids = await worker.send(1.0, 2.0, 3.0, 4.0)
    worker.supervisor.start()
    outcomes = await worker.outcomes(4)
    assert [outcomes[i] for i in ids] == [("succeeded", 2.0 * n) for n in (1, 2, 3, 4)]
    assert failed, "no batch was too large"


async def test_a_request_too_large_for_the_device_fails_and_the_next_is_served(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails alone, with the cause."""
    with monkeypatch.context() as full:
        limit(worker, full, rows=0)
        (large,) = await worker.send(1.0)
        worker.supervisor.start()
        status, text = (await worker.outcomes(1))[large]
        assert status == "failed" and "no memory left" in text
    (small,) = await worker.send(2.0)
    assert (await worker.outcomes(2))[small] == ("succeeded", 4.0)
