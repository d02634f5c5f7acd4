"""3. Joining a load: a crowd asks for a cold model, and it is loaded once.

The first request orders the load; those that come while it is ordered or under way are parked
behind it. A load lease in Redis sees to it that no second worker loads the model too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import aiohttp

from tests.helpers.models import Mlp
from tests.helpers.pair import failed_loads, loads
from tests.helpers.stack import Stack

CROWD = 200


async def test_200_simultaneous_requests_for_a_cold_model_cause_one_load(
    stack: Stack, new_model: Callable[..., Mlp]
) -> None:
    """All are answered, one order was written, and the two workers loaded once between them."""
    await asyncio.to_thread(stack.scale, workers=2)
    model = new_model(size=3_000_000)
    # A crowd that takes long is answered by two copies, the second one ordered by another rule.
    stack.client().set_policy(model.name, {"max_copies": 1})
    before = stack.traces()
    question = model.question()
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 16], "data": question["x"].tolist()}
    body = json.dumps({"inputs": [tensor]}).encode()
    url = f"{stack.gateways[0].url}/v2/models/{model.name}/infer"

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one() -> tuple[int, str, list[float]]:
            async with session.post(url, data=body) as answer:
                said = await answer.json()
                assert answer.status == 200, said
                return answer.status, answer.headers["Warmroute-Cold"], said["outputs"][0]["data"]

        answers = await asyncio.gather(*(one() for _ in range(CROWD)))

    assert [status for status, _, _ in answers] == [200] * CROWD
    assert all(model.right(question, [data]) for _, _, data in answers)
    assert sum(cold == "true" for _, cold, _ in answers) > 1  # they did wait together
    assert not any(":rq:job:" in key for key in stack.traces() - before)  # it was taken
    assert sum(loads(worker, model.name) for worker in stack.workers) == 1
    assert sum(failed_loads(worker, model.name) for worker in stack.workers) == 0
