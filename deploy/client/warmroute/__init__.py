"""The Python client: `Client(url).infer("model", {"input": array})`.

Over HTTP with binary tensors; it needs numpy, msgspec, urllib3 and tenacity, and no torch.
"""

from warmroute.client import Client
from warmroute.errors import (
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
from warmroute.pending import Pending
from warmroute.result import Result
from warmroute.session import Session

__all__ = [
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
