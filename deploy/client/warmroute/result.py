"""What came back: the output tensors, and where and how they were made."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from warmroute.errors import ConnectionFailed
from warmroute.http import Answer
from warmroute.tensors import Array, decode


@dataclass(frozen=True)
class Result(Mapping[str, Array]):
    """Outputs by name: `result["output"]`, or `result.outputs`.

    `cold` says whether the request waited for its model to be loaded, `worker` who computed it;
    both are None where the server did not say (a result fetched later may not carry them).
    """

    outputs: dict[str, Array]
    model: str
    version: str | None = None
    request_id: str | None = None
    worker: str | None = None
    cold: bool | None = None
    parameters: dict[str, str | int | float | bool] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


def read_result(answer: Answer) -> Result:
    """A V2 inference response, JSON or binary, as a Result; ConnectionFailed if it is none."""
    try:
        header, blobs = answer.split()
        response, outputs = decode(header, blobs)
        model = response["model_name"]
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise ConnectionFailed(f"the answer is no V2 inference response: {error}") from error
    cold = answer.header("Warmroute-Cold")
    return Result(
        outputs=outputs,
        model=model,
        version=response.get("model_version"),
        request_id=answer.header("Warmroute-Request-Id") or response.get("id"),
        worker=answer.header("Warmroute-Worker") or None,
        cold=None if cold is None else cold == "true",
        parameters=response.get("parameters", {}),
    )
