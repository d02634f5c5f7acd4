"""Python client of warmroute: `Client(url).infer("model", {"input": array})`.

`Client` blocks, `AsyncClient` has the same calls with asyncio. Both send tensors in the binary form
of the Open Inference Protocol and need numpy and httpx only.
"""

from warmroute.async_client import AsyncClient
from warmroute.client import Client
from warmroute.errors import (
    BadResponse,
    ClientError,
    ConnectionFailed,
    Expired,
    Gone,
    InvalidInput,
    KeyReused,
    NoGateway,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    Rejected,
    RequestFailed,
    ServerError,
    TimedOut,
)
from warmroute.pending import AsyncPending, Pending
from warmroute.result import Result
from warmroute.session import AsyncSession, Session

__all__ = [
    "AsyncClient",
    "AsyncPending",
    "AsyncSession",
    "BadResponse",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "Expired",
    "Gone",
    "InvalidInput",
    "KeyReused",
    "NoGateway",
    "NotFound",
    "OutcomeUnknown",
    "Overloaded",
    "Pending",
    "Rejected",
    "RequestFailed",
    "Result",
    "ServerError",
    "Session",
    "TimedOut",
]
