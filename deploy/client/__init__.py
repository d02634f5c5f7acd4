"""The Python client: `Client(url).infer("model", {"input": array})`.

Over HTTP with binary tensors; it needs numpy, msgspec, urllib3 and tenacity, and no torch.
"""

from deploy.client.client import Client
from deploy.client.errors import (
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
from deploy.client.pending import Pending
from deploy.client.result import Result
from deploy.client.session import Session

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
