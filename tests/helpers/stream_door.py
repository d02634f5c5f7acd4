"""A producer at the stream door, and what tests look for behind it."""

from __future__ import annotations

import json
from typing import Any

from shared import manifest as manifests
from tests.helpers.cell import Entry
from tests.helpers.factories import manifest

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]})
REPLY_TO = "answers"


async def send(parts: Any, **fields: str | bytes | None) -> bytes:
    """What a producer writes."""
    usual = {"model": "mnist", "body": BODY, "reply_to": REPLY_TO}
    row = {name: value for name, value in {**usual, **fields}.items() if value is not None}
    return await parts.cell.client.xadd(parts.cell.keys.ingress, row)


async def taken_in(parts: Any, door: Any) -> None:
    """Rounds of the door, until nothing is left before it."""
    while await parts.cell.client.xlen(parts.cell.keys.ingress):
        await door.run_once()


async def parked(parts: Any, repository: Any) -> list[Entry]:
    """The requests of the model that nobody holds."""
    ref = manifests.ref_of(manifest(), repository.raw)
    return await parts.cell.stream(parts.cell.keys.parked(str(ref)))
