"""Bodies over the limit, wrongly compressed, or cut where the headers say otherwise."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.helpers.http import chunked
from tests.helpers.models import Mlp
from tests.helpers.stack import Stack
from tests.system.setup import MAX_BODY_BYTES, Refused, post

LENGTH = "Inference-Header-Content-Length"
OVER = b'{"inputs": "' + b"x" * MAX_BODY_BYTES + b'"}'


def infer(mlp: Mlp, body: bytes, headers: Mapping[str, str], sent: bytes | None = None) -> bytes:
    return post(f"/v2/models/{mlp.name}/infer", body, headers, sent)


def binary(mlp: Mlp, size: int = 64, blob: bytes = bytes(64)) -> tuple[bytes, bytes]:
    """Header and tensor of a binary request; 64 bytes are one row."""
    tensor = {
        "name": "x", "datatype": "FP32", "shape": [1, 16],
        "parameters": {"binary_data_size": size},
    }  # fmt: skip
    return json.dumps({"inputs": [tensor]}).encode(), blob


def test_a_body_that_declares_more_than_the_limit_is_refused_unread(
    refused: Refused, mlp: Mlp
) -> None:
    """413 that names the limit, before any of it is sent."""
    status, error = refused(infer(mlp, OVER, {}, sent=b""))
    assert status == 413
    assert "body" in error and str(MAX_BODY_BYTES) in error


def test_a_body_that_declares_a_terabyte_is_refused_unread(refused: Refused, mlp: Mlp) -> None:
    """Nothing is reserved for it."""
    status, _ = refused(infer(mlp, b"", {"Content-Length": str(1 << 40)}))
    assert status == 413


def test_a_chunked_body_over_the_limit_is_refused(refused: Refused, mlp: Mlp) -> None:
    """It declares nothing, so it is counted."""
    headers = {"Transfer-Encoding": "chunked"}
    status, error = refused(infer(mlp, OVER, headers, sent=chunked(OVER)))
    assert status == 413
    assert "body" in error and str(MAX_BODY_BYTES) in error


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("times", [2, 25], ids=["8 MiB", "100 MiB"])
def test_a_bomb_is_refused_before_it_unfolds(
    refused: Refused, stack: Stack, mlp: Mlp, coding: str, times: int
) -> None:
    """The limit holds for the decompressed body, and memory for all of it is never taken."""
    folded = {"gzip": gzip.compress, "deflate": zlib.compress}[coding](OVER * times)
    before = memory_bytes(stack)
    status, error = refused(infer(mlp, folded, {"Content-Encoding": coding}))
    assert status == 413
    assert "body" in error
    assert memory_bytes(stack) - before < 10 * MAX_BODY_BYTES


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"no gzip at all", id="none"),
        pytest.param(gzip.compress(b'{"inputs": []}')[:-12], id="cut short"),
        pytest.param(gzip.compress(b"x" * 1000)[:10] + b"\xff" * 40, id="garbage inside"),
    ],
)
def test_corrupt_compression_is_refused(refused: Refused, mlp: Mlp, body: bytes) -> None:
    """400: the body is what cannot be read."""
    status, error = refused(infer(mlp, body, {"Content-Encoding": "gzip"}))
    assert status == 400
    assert "body" in error


@pytest.mark.parametrize("length", ["00", "-1", "x", "1e3", "99999", "9" * 40, "٣", " ", "5"])
def test_a_wrong_length_of_the_json_part_is_refused(
    refused: Refused, mlp: Mlp, length: str
) -> None:
    """400 that names the header, or the JSON that was cut by it."""
    header, blob = binary(mlp)
    given = length.encode().decode("latin-1")
    status, error = refused(infer(mlp, header + blob, {LENGTH: given}))
    assert status == 400
    assert LENGTH in error or (length == "5" and "body" in error)


@pytest.mark.parametrize(
    ("size", "blob", "named"),
    [
        pytest.param(64, b"", "binary_data_size", id="no bytes"),
        pytest.param(64, bytes(63), "binary_data_size", id="one too few"),
        pytest.param(64, bytes(65), "1 bytes after the last", id="one too many"),
        pytest.param(60, bytes(60), "'x']", id="not the shape's"),
        pytest.param(-64, bytes(64), "binary_data_size", id="negative"),
        pytest.param(1 << 70, bytes(64), "binary_data_size", id="absurd"),
        pytest.param("64", bytes(64), "binary_data_size", id="a text"),
        pytest.param(True, b"\0", "binary_data_size", id="a bool"),
    ],
)
def test_binary_tensors_that_do_not_fit_are_refused(
    refused: Refused, mlp: Mlp, size: int, blob: bytes, named: str
) -> None:
    """400 that names the field."""
    header, blob = binary(mlp, size, blob)
    status, error = refused(infer(mlp, header + blob, {LENGTH: str(len(header))}))
    assert status == 400
    assert named in error


def test_binary_data_without_the_header_is_refused(refused: Refused, mlp: Mlp) -> None:
    """Without it all of the body is JSON, and this is none."""
    header, blob = binary(mlp)
    status, error = refused(infer(mlp, header + blob, {}))
    assert status == 400
    assert "body" in error


def test_the_same_bytes_without_a_fault_are_answered(stack: Stack, mlp: Mlp) -> None:
    """The control, compressed and in chunks."""
    header, blob = binary(mlp, blob=struct.pack("<16f", *range(16)))
    folded = gzip.compress(header + blob)
    headers = {LENGTH: str(len(header)), "Content-Encoding": "gzip"}

    answer = stack.http("POST", f"/v2/models/{mlp.name}/infer", folded, headers)

    assert answer.status == 200, answer


def memory_bytes(stack: Stack) -> int:
    """The most memory that the gateway has ever held."""
    status = Path(f"/proc/{stack.gateways[0].child.pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024
