"""A worker that can load nothing, beside a healthy one: blame is local until workers agree (I36).

It fails within milliseconds, so it is always free to take the next order.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.http import Answer
from tests.helpers.models import Mlp, publish_mlp
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from tests.system.setup import ONE_ROW

MODELS, AT_ONCE, LIMIT_S = 8, 3, 20

pytestmark = pytest.mark.slow


def ask(stack: Stack, model: Mlp) -> Answer:
    path = f"/v2/models/{model.name}/infer"
    return stack.http("POST", path, ONE_ROW, {"Warmroute-Timeout": str(LIMIT_S)})


def test_no_request_fails_that_a_healthy_worker_could_serve(cell: Stack) -> None:
    """Cold models, several requests each; when the healthy one has gone, the true cause is told at
    once. The sick one does not trust the repository: its operator mistyped the setting."""
    cell.scale(gateways=1, workers=0)
    sick = cell.add_worker(WARMROUTE_TRUST_CODE="s3://mistyped")
    healthy = cell.add_worker()
    models = [publish_mlp(cell.repository, cell.folder) for _ in range(MODELS)]
    with ThreadPoolExecutor(MODELS * AT_ONCE) as pool:
        answers = list(pool.map(lambda model: ask(cell, model), models * AT_ONCE))
    assert [answer.status for answer in answers] == [200] * len(answers)
    assert all(cell.holders(model.name) == [healthy.name] for model in models)

    def was_asked() -> bool:
        """The healthy one may have been quicker each time: then with one more."""
        if "is not trusted" in sick.log or "untrusted" in sick.log:
            return True
        assert ask(cell, publish_mlp(cell.repository, cell.folder)).status == 200
        return False

    block_until(was_asked, 60)

    assert healthy.stop() == 0
    began = time.monotonic()
    answer = ask(cell, publish_mlp(cell.repository, cell.folder))
    assert (answer.status, answer.headers["warmroute-error"]) == (403, "untrusted")
    assert time.monotonic() - began < LIMIT_S, "it waited for its deadline"
    assert sick.stop() == 0
