"""HTTP as the clients of a chaos run speak it: what an answer says, or that there was none."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import numpy as np

from shared.datatypes import NUMPY
from shared.envelope import Tensor
from tests.helpers.models import Mlp, Slow
from warmroute.encoding import HEADER_LENGTH, encode
from warmroute.framing import Array
from warmroute.result import decode

ANSWER_WITHIN_S = 50.0
BROKEN = (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError)


@dataclass(frozen=True)
class Question:
    """Inputs for a model, and a way to tell a right answer."""

    model: Mlp | Slow
    inputs: Mapping[str, Array]

    def right(self, outputs: Mapping[str, Array]) -> bool:
        """Whether `outputs` are what plain numpy says."""
        if isinstance(self.model, Slow):
            return bool((outputs["done"] == self.inputs["steps"]).all())
        said = outputs.get("y")
        return said is not None and self.model.right(dict(self.inputs), said)

    def binary(self, limit_s: float) -> tuple[bytes, dict[str, str]]:
        """Body and headers of an infer request."""
        body, length = encode(self.inputs, parameters={"timeout": int(limit_s * 1e6)})
        return body, {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(length)}

    def json(self) -> bytes:
        """The same as JSON, as stream entries carry it."""
        rows = [
            {
                "name": name,
                "datatype": "INT64" if array.dtype == np.int64 else "FP32",
                "shape": array.shape,
                "data": array.reshape(-1).tolist(),
            }
            for name, array in self.inputs.items()
        ]
        return msgspec.json.encode({"inputs": rows})


@dataclass(frozen=True)
class Said:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def request(self) -> str:
        return self.headers.get("Warmroute-Request-Id", "")

    @property
    def code(self) -> str:
        return self.headers.get("Warmroute-Error", "")

    @property
    def worker(self) -> str:
        return self.headers.get("Warmroute-Worker", "")

    @property
    def outputs(self) -> dict[str, Array]:
        """Of an infer answer."""
        length = self.headers.get(HEADER_LENGTH)
        at = len(self.body) if length is None else int(length)
        return decode(self.body[:at], self.body[at:])[1]

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        found: dict[str, Any] = msgspec.json.decode(self.body)
        return found


class Door:
    """The gateways, as a client without a load balancer sees them: any may be away."""

    def __init__(self, urls: list[str], dice: random.Random) -> None:
        self._urls = urls
        self._dice = dice
        # No limit to connections: callers are closed loops, and a kept one may be dead.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN_S),
        )

    async def close(self) -> None:
        """Drop the kept connections."""
        await self._session.close()

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Said:
        """One request to one of them, another if nobody listens there (then nothing was sent).

        Raises one of BROKEN if it has no answer.
        """
        for url in self._dice.sample(self._urls, len(self._urls)):
            try:
                return await self._ask(method, url + path, body, headers)
            except aiohttp.ClientConnectorError as error:
                nobody = error
        raise nobody

    async def _ask(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str] | None
    ) -> Said:
        async with self._session.request(method, url, data=body, headers=headers) as answer:
            return Said(answer.status, answer.headers, await answer.read())


def arrays_of(tensors: Iterable[Tensor]) -> dict[str, Array]:
    """The tensors of an outcome, as a worker wrote them."""
    return {
        each.name: np.frombuffer(each.data, NUMPY[each.datatype]).reshape(each.shape)
        for each in tensors
    }


def outputs_of(response: Mapping[str, Any]) -> dict[str, Array]:
    """The tensors of a V2 response in JSON."""
    kinds = {"INT64": np.int64, "FP32": np.float32}
    return {
        each["name"]: np.array(each["data"], kinds[each["datatype"]]).reshape(each["shape"])
        for each in response["outputs"]
    }
