"""After an error the device is tested; a process whose device is lost ends (I39)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch

from shared.errors import InvalidInput, ModelFailed
from worker.device.base import DeviceOutOfMemory
from worker.device.thread import DeviceAsserted, DeviceThread, is_assertion
from worker.runtimes import failures
from worker.supervisor.restart import DEVICE_ASSERT, DEVICE_LOST

ASSERT = "CUDA error: device-side assert triggered\nSearch for `cudaErrorAssert' in https://docs"


class Bench:
    """A device thread; its device fails the self-test once `failure` is set."""

    def __init__(self) -> None:
        self.failure = ""
        self.tests = 0
        self.ended: list[int] = []
        self.thread = DeviceThread(self._test, self.ended.append)

    def _test(self) -> str:
        self.tests += 1
        return self.failure

    async def fail(self, error: Exception) -> None:
        """A call raises `error`."""
        with pytest.raises(type(error)):
            await self.thread.run(lambda: raise_(error))


def raise_(error: Exception) -> None:
    raise error


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.thread.close()


ERRORS = [
    RuntimeError("CUDA error: unknown error"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
    RuntimeError("no CUDA-capable device is detected"),
    Exception("[ONNXRuntimeError] : 1 : FAIL : CUDA failure 700"),
    ModelFailed("the model failed: anything"),
    ZeroDivisionError("a bug"),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_whatever_was_raised_a_device_that_fails_the_test_ends_the_process(
    bench: Bench, error: Exception
) -> None:
    """No text is needed to recognise it."""
    bench.failure = "CUDA error: unknown error"
    await bench.fail(error)
    assert bench.ended == [DEVICE_LOST]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_whatever_was_raised_a_device_that_passes_serves_on(
    bench: Bench, error: Exception
) -> None:
    """The error was of that call alone."""
    await bench.fail(error)
    assert (bench.tests, bench.ended) == (1, [])
    assert await bench.thread.run(lambda: 7) == 7


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("not these"), DeviceOutOfMemory("full"), MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
    ids=repr,
)  # fmt: skip
async def test_an_error_that_says_nothing_of_the_device_starts_no_test(
    bench: Bench, error: Exception
) -> None:
    """A full device is not lost, and a refused input has not reached it."""
    bench.failure = "lost"
    await bench.fail(error)
    assert (bench.tests, bench.ended) == (0, [])


async def test_an_error_of_another_thread_is_examined_on_the_device_thread(bench: Bench) -> None:
    """A load uses the device too."""
    seen: list[str] = []
    bench.thread._self_test = lambda: seen.append(threading.current_thread().name) or "lost"
    await bench.thread.test_after(RuntimeError("a load failed"))
    assert bench.ended == [DEVICE_LOST] and seen[0].startswith("device")


def asserted() -> Exception:
    """As a runtime raises it."""
    with pytest.raises(ModelFailed) as raised, failures.of_model():
        raise RuntimeError(ASSERT)
    return raised.value


async def test_a_lone_request_at_which_the_device_stops_is_to_blame(bench: Bench) -> None:
    """Its caller is told the likely cause before the process ends; nothing runs any more."""
    bench.failure = ASSERT
    with pytest.raises(DeviceAsserted, match="index in an input is out of range"):
        await bench.thread.run(lambda: bench.thread.examine(asserted(), requests=1))
    assert bench.thread.asserted and bench.ended == []
    later = asyncio.create_task(bench.thread.run(lambda: 7))
    await asyncio.sleep(0.05)
    assert not later.done(), "it could only fail"
    bench.thread.end_asserted()
    assert bench.ended == [DEVICE_ASSERT]
    assert await later == 7  # only here: in truth the process has ended


async def test_of_several_requests_nobody_knows_which_is_to_blame(bench: Bench) -> None:
    """The process ends at once, and its parent has each of them run alone."""
    bench.failure = ASSERT
    await bench.thread.run(lambda: bench.thread.examine(asserted(), requests=3))
    assert bench.ended == [DEVICE_ASSERT] and not bench.thread.asserted


async def test_an_assertion_without_requests_is_a_lost_device(bench: Bench) -> None:
    """A warm-up, a load: no request is to blame."""
    bench.failure = ASSERT
    await bench.fail(RuntimeError(ASSERT))
    assert bench.ended == [DEVICE_LOST]


async def test_a_model_may_say_what_it_likes(bench: Bench) -> None:
    """On a sound device its words prove nothing."""
    await bench.thread.run(lambda: bench.thread.examine(RuntimeError(ASSERT), requests=1))
    assert bench.ended == [] and not bench.thread.asserted


def test_a_chain_of_causes_that_bites_its_tail_ends() -> None:
    """Python allows it."""
    one, two = RuntimeError("one"), RuntimeError("two")
    one.__cause__, two.__cause__ = two, one
    assert not is_assertion(one)


async def test_a_device_that_does_not_answer_at_the_start_ends_the_process(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No watchdog runs yet."""
    monkeypatch.setattr("worker.device.thread.SELF_TEST_S", 0.05)
    go = threading.Event()
    bench.thread._self_test = lambda: "" if go.wait(20) else "late"
    await bench.thread.test()
    go.set()
    assert bench.ended == [DEVICE_LOST]


@pytest.mark.parametrize(("failure", "status"), [("lost", DEVICE_LOST), ("", 0)])
def test_the_process_ends_at_once_and_says_why(failure: str, status: int) -> None:
    """From the device thread, with the status that its parent knows."""
    program = f"""
import asyncio
from contextlib import suppress
from worker.device.thread import DeviceThread

def call():
    raise RuntimeError("anything")

async def main():
    thread = DeviceThread(lambda: {failure!r})
    with suppress(RuntimeError):
        await thread.run(call)
    thread.close()

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=50)
    assert ended.returncode == status
    assert (b"cannot be used any more (lost)" in ended.stderr) == bool(status)
