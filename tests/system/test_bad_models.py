"""Versions that no worker can load: all that wait for them are told why, and nobody else notices.

The files are written into the repository's folder by hand, as a broken tool would leave them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.http import Answer
from tests.helpers.models import Mlp
from tests.helpers.pair import failed_loads, loads
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from tests.system.setup import ONE_ROW, Broken


def no_blob(broken: Broken) -> None:
    broken.file["sha256"] = hashlib.sha256(broken.name.encode()).hexdigest()


def wrong_size(broken: Broken) -> None:
    broken.hold(broken.name.encode() * 100)
    broken.file["size"] += 7


def wrong_bytes(broken: Broken) -> None:
    broken.hold(broken.name.encode() * 100)
    broken.blob.write_bytes(broken.name.upper().encode() * 100)


def no_torchscript(broken: Broken) -> None:
    broken.hold(b"this is no archive of torch " + broken.name.encode())


def no_onnx(broken: Broken) -> None:
    broken.hold(b"this is no onnx " + broken.name.encode())
    broken.file["name"] = "model.onnx"
    broken.manifest["platform"] = "onnxruntime_onnx"


def no_program(broken: Broken) -> None:
    broken.hold(b'{"this": "is no program"}' + broken.name.encode())
    broken.file["name"] = "program.json"
    broken.manifest["platform"] = "pytorch_program"


def wrong_file(broken: Broken) -> None:
    broken.file["name"] = "weights.bin"


def wrong_output(broken: Broken) -> None:
    broken.manifest["outputs"][0]["shape"] = [-1, 99]


CASES = [
    pytest.param(no_blob, 502, "not in the repository", id="blob missing"),
    pytest.param(wrong_size, 422, "bytes", id="size is a lie"),
    pytest.param(wrong_bytes, 422, "sha256", id="hash is a lie"),
    pytest.param(no_torchscript, 422, "TorchScript", id="no TorchScript"),
    pytest.param(no_onnx, 422, "ONNX", id="no ONNX"),
    pytest.param(no_program, 422, "program", id="no program"),
    pytest.param(wrong_file, 422, "model.pt", id="its file has another name"),
    pytest.param(wrong_output, 422, "shape", id="its output is another"),
]


@pytest.mark.parametrize(("spoil", "status", "cause"), CASES)
def test_a_model_that_cannot_be_loaded_fails_all_that_wait_for_it_and_nobody_else(
    stack: Stack, broken: Broken, mlp: Mlp, spoil: Callable[[Broken], None], status: int, cause: str
) -> None:
    """Forty requests, some of them parked, some too late, all with the cause; one attempt."""
    client, question = stack.client(), mlp.question()
    client.infer(mlp.name, question)
    spoil(broken)
    broken.write()

    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: stack.http("POST", broken.infer, ONE_ROW), range(40)))
        answers.append(stack.http("POST", broken.infer, ONE_ROW))
    resident = client.infer(mlp.name, question)

    assert {answer.status for answer in answers} == {status}, answers[0]
    assert {error_of(answer) for answer in answers} == {error_of(answers[0])}
    assert cause in error_of(answers[0])
    assert str(stack.folder) not in error_of(answers[0])
    worker = stack.workers[0]
    assert failed_loads(worker, broken.name) == 1
    assert "this is a bug" not in worker.log
    assert resident.cold is False and mlp.right(question, resident["y"])
    assert stack.holders(broken.name) == []


def test_a_model_that_was_repaired_is_loaded_after_the_back_off(
    stack: Stack, broken: Broken
) -> None:
    """Until then requests fail at once, without another attempt; then the next one tries again."""
    content = broken.blob.read_bytes() + b"\n"
    broken.declare(content)
    broken.write()
    assert stack.http("POST", broken.infer, ONE_ROW).status == 502
    broken.hold(content)
    asked = 0

    def answered() -> bool:
        nonlocal asked
        asked += 1
        return stack.http("POST", broken.infer, ONE_ROW).status == 200

    block_until(answered)
    assert asked > 10  # it was asked all the time
    assert failed_loads(stack.workers[0], broken.name) == 1
    assert loads(stack.workers[0], broken.name) == 1


def test_requests_parked_for_a_manifest_that_went_away_fail_with_that_cause(
    stack: Stack, broken: Broken
) -> None:
    """The gateway still knew the version; the worker finds it gone."""
    broken.write()
    assert stack.http("GET", f"/v2/models/{broken.name}").status == 200
    broken.path.unlink()

    answer = stack.http("POST", broken.infer, ONE_ROW)

    assert answer.status in (404, 502), answer
    assert broken.name in error_of(answer)


def error_of(answer: Answer) -> str:
    return str(answer.json()["error"])
