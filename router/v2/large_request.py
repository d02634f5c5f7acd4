"""Requests that are too large to be read on the event loop (`json_processes.py` says why)."""

from __future__ import annotations

from router.v2 import request as v2_request
from router.v2.json_form import peek_timeout_us
from router.v2.json_processes import AT_ONCE, JsonProcesses
from router.v2.request import InferRequest
from shared import datatypes
from shared.envelope import pack, unpack_envelope
from shared.errors import TooLarge
from shared.manifest import Manifest
from shared.shared_memory import size_of

_Packed = tuple[bytes, int | None, dict[str, bool], bool]


def is_large(body: bytes, header_length: str | None, manifest: Manifest) -> bool:
    """Whether more than a little of the body must be looked at byte by byte: its JSON, or elements
    of BYTES. InvalidInput if the header does not fit the body."""
    if len(body) <= AT_ONCE:
        return False
    head, _ = v2_request.split(body, header_length)
    return len(head) > AT_ONCE or any(s.datatype == datatypes.BYTES for s in manifest.inputs)


async def parse(
    body: bytes, header_length: str | None, manifest: Manifest, most_bytes: int,
    processes: JsonProcesses,
) -> InferRequest:  # fmt: skip
    """As `request.parse`, in another process. TooLarge for tensors of more than `most_bytes`, which
    could not be sent as binary either: 16 MiB of `0,0,0` are 64 MiB of FP64."""
    packed, timeout_us, binary, default = await processes.run(
        _parse, body, header_length, manifest, most_bytes
    )
    return InferRequest(unpack_envelope(packed), timeout_us, binary, default)


def _parse(body: bytes, header_length: str | None, manifest: Manifest, most_bytes: int) -> _Packed:
    parsed = v2_request.parse(body, header_length, manifest)
    envelope = parsed.envelope
    if size_of(envelope) > most_bytes:
        raise TooLarge(f"inputs: {size_of(envelope)} bytes of tensors, at most {most_bytes}")
    return pack(envelope), parsed.timeout_us, parsed.binary, parsed.binary_default


async def peek_timeout(head: bytes, processes: JsonProcesses) -> int | None:
    """As `json_form.peek_timeout_us`."""
    if len(head) <= AT_ONCE:
        return peek_timeout_us(head)
    return await processes.run(peek_timeout_us, head)
