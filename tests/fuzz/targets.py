"""What is fuzzed: every decoder that reads bytes from outside. Each ends in a typed error, or not.

A target takes any bytes. What it may raise is said here; anything else is a bug.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from router.rest import arguments
from router.stream import ingress
from router.v2 import request as v2_request
from router.v2 import response as v2_response
from shared import manifest as manifests
from shared.envelope import Envelope, Outcome, pack, unpack_envelope, unpack_error, unpack_outcome
from shared.errors import WarmrouteError
from shared.keys import Keys
from shared.names import ModelRef, check_model_name, parse_version
from tests.helpers.factories import manifest, spec, tensor, work
from worker.runtimes import safetensors_header
from worker.serving import batch_tensors
from worker.serving.queued_request import FIELDS, decode

Target = Callable[[bytes], None]
KEYS = Keys("fuzz")
MODEL = manifest(
    inputs=[spec("x", "FP32", [-1, 2]), spec("t", "BYTES", [-1])],
    outputs=[spec("y", "INT64", [-1])],
)
REF = ModelRef("mnist", 1, "0123456789ab")


def envelope(data: bytes) -> None:
    """A request as the worker reads it: what decodes can be packed again."""
    try:
        message = unpack_envelope(data)
    except msgspec.MsgspecError:
        return
    assert unpack_envelope(pack(message)) == message


def outcome(data: bytes) -> None:
    """A success as the gateway reads and renders it."""
    try:
        message: Outcome = unpack_outcome(data)
        v2_response.render(message, REF, {}, False)
    except (msgspec.MsgspecError, WarmrouteError):
        return


def failure(data: bytes) -> None:
    """A failure as the gateway reads it: any text will do."""
    assert isinstance(unpack_error(data), WarmrouteError)


def work_entry(data: bytes) -> None:
    """A whole work entry around a body, and its tensors as arrays."""
    values = (b"a" * 32, b"mnist:1:0123456789ab", b"1", b"", b"", b"0", data)
    try:
        read = decode(b"1-1", [part for pair in zip(FIELDS, values, strict=True) for part in pair])
        batch_tensors.join([read])
        batch_tensors.join([read, read])
    except WarmrouteError:
        return


def work_fields(data: bytes) -> None:
    """A work entry whose fields are garbage."""
    parts = data.split(b"\n")
    body = pack(Envelope([]))
    for flat in (parts, [p for name in FIELDS for p in (name, parts[len(name) % len(parts)])]):
        try:
            decode(b"1-1", flat)
            decode(b"1-1", [*flat[:-1], body])
        except WarmrouteError:
            continue


def body(data: bytes) -> None:
    """A V2 request, as JSON and with binary tensors; the first byte says where they begin."""
    for length in (None, str(data[0] if data else 0), data[:8].decode("latin-1")):
        try:
            parsed = v2_request.parse(data, length, MODEL)
        except WarmrouteError:
            continue
        worker_side = work(envelope=parsed.envelope)
        batch_tensors.join([worker_side])


def texts(data: bytes) -> None:
    """Names, versions, ids and streams that callers choose."""
    text = data.decode(errors="replace")
    for read in (
        lambda: check_model_name(text), lambda: parse_version(text), lambda: ModelRef.parse(text),
        lambda: arguments.parse_wait(text), lambda: ingress.check_reply_to(data, KEYS),
    ):  # fmt: skip
        try:
            read()
        except WarmrouteError:
            continue


def manifest_file(data: bytes) -> None:
    """A manifest of the repository."""
    try:
        manifests.parse(data, name="mnist", version=1)
    except WarmrouteError:
        return


def safetensors(data: bytes) -> None:
    """The header of a weights file."""
    try:
        safetensors_header.header_size(data[:8], len(data))
        safetensors_header.parse_header(data[8:], len(data))
    except WarmrouteError:
        return


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        envelope, outcome, failure, work_entry, work_fields, body, texts, manifest_file,
        safetensors,
    )
}  # fmt: skip

# Well-formed beginnings: a fuzzer that starts from nothing seldom gets past the first check.
SEEDS: dict[str, list[bytes]] = {
    "envelope": [pack(work().envelope), pack(Envelope([]))],
    "work_entry": [pack(work().envelope)],
    "outcome": [pack(Outcome([tensor(batch_tensors.to_array(work().envelope.inputs[0]))]))],
    "body": [
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]},'
        b'{"name":"t","shape":[1],"datatype":"BYTES","data":["a"]}],"parameters":{"timeout":5}}',
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}},'
        b'{"name":"t","shape":[1],"datatype":"BYTES","data":["a"]}]}12345678',
    ],
    "manifest_file": [msgspec.json.encode(manifest())],
    "safetensors": [
        b'<\0\0\0\0\0\0\0{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}      1234'
    ],
    "texts": [b"mnist", b"12", b"mnist:1:0123456789ab", b"0.5", b"{fuzz}:answers:a"],
    "failure": [b"model_failed it did"],
    "work_fields": [b"1\nmnist:1:0123456789ab\n5"],
}
