"""What went wrong below HTTP, as an error of ours that says it in one sentence."""

from __future__ import annotations

import socket
import ssl

import httpx

from warmroute.errors import ClientError, ConnectionFailed, InvalidInput, NoGateway, TimedOut


def translated(error: Exception, request: httpx.Request, base_url: str) -> ClientError:
    """An error of httpx as one of the tree; `base_url` is the gateway's address."""
    call = f"{request.method} {request.url.raw_path.decode()}"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol):
        return NoGateway(f"no gateway answers at {base_url}{_connect_reason(error)}")
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return TimedOut(f"{call}: no response in time")
    if isinstance(error, httpx.LocalProtocolError):
        return InvalidInput(f"{call}: cannot be sent: {error}")
    return ConnectionFailed(f"{call}: {_reason(error)}")


def _connect_reason(error: BaseException) -> str:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f" over TLS: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return " over TLS: the server there does not use TLS, want http://"
        if isinstance(cause, socket.gaierror):
            return ": the host name cannot be resolved"
    return ""


def _reason(error: Exception) -> str:
    said = str(error)
    if isinstance(error, httpx.RemoteProtocolError):
        if "peer closed connection" in said:
            return f"the response was cut off: {said}"
        if "disconnected" in said:
            return "the connection was closed before an HTTP response"
        return f"the server there does not use HTTP: {said}"
    if isinstance(error, httpx.ReadError | httpx.WriteError | httpx.CloseError):
        return "the connection broke before the response was complete"
    return said or type(error).__name__


def _causes(error: BaseException) -> list[BaseException]:
    """The error and those behind it."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found
