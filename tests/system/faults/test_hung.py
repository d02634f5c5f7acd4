"""F20: a call of a model that never returns. Its process is replaced, and nobody else suffers."""

from __future__ import annotations

import pytest

from tests.helpers.models import Mlp, Slow
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until

PROMPTLY_S = 60
HUNG_S = 300

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_a_call_that_does_not_return_is_told_at_its_deadline_and_its_worker_replaced(
    cell: Stack, model: Mlp, slow: Slow
) -> None:
    """What waits behind it is answered long before; the hung request has expired, and that is its
    end."""
    cell.scale(gateways=1, workers=1)
    client = cell.client()
    (worker,) = cell.workers
    client.infer(slow.name, slow.question(0.01))
    client.infer(model.name, model.question())
    device, logged = cell.device_pid(worker), len(worker.log)

    hung = client.submit(slow.name, slow.question(HUNG_S), timeout=2)
    block_until(lambda: hung.status() in ("running", "expired"))
    behind = client.submit(model.name, model.question(1), timeout=PROMPTLY_S)
    block_until(lambda: hung.status() == "expired")
    assert cell.device_pid(worker) == device, "it was told before its process was given up"

    answer = behind.result(timeout=PROMPTLY_S)

    assert model.right(model.question(1), answer["y"])
    assert cell.device_pid(worker) not in (0, device)
    assert "a batch ran on past its deadline" in worker.log[logged:]
    assert hung.status() == "expired"
