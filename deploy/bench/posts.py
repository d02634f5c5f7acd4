"""Infer requests as the bytes of a whole HTTP request, their inputs, and answers as arrays."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import msgspec
import numpy as np

from deploy.bench.connection import Answer
from deploy.bench.measure import BenchError
from shared import datatypes
from warmroute.encoding import HEADER_LENGTH, encode
from warmroute.framing import Array
from warmroute.result import decode

Tensors = Mapping[str, Array]


def json_post(model: str, inputs: Tensors) -> bytes:
    """An infer request with the tensors as JSON numbers."""
    rows = [
        {
            "name": name,
            "datatype": datatypes.from_numpy(array.dtype),
            "shape": list(array.shape),
            "data": array.reshape(-1).tolist(),
        }
        for name, array in inputs.items()
    ]
    body = msgspec.json.encode({"inputs": rows})
    return _post(model, body, {"Content-Type": "application/json"})


def binary_post(model: str, inputs: Tensors) -> bytes:
    """An infer request as the Python client sends it: binary tensors, and asks for such."""
    body, length = encode(dict(inputs))
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(length)}
    return _post(model, body, headers)


def body_of(post: bytes) -> bytes:
    """The body of a post."""
    return post.partition(b"\r\n\r\n")[2]


def outputs_of(answer: Answer) -> dict[str, Array]:
    """The outputs of an infer answer, JSON or binary."""
    length = _header(answer.head, HEADER_LENGTH)
    at = len(answer.body) if length is None else int(length)
    return decode(answer.body[:at], answer.body[at:])[1]


def check_close(answer: Answer, expected: Tensors) -> None:
    """BenchError unless the answer holds `expected`, to float32 rounding."""
    check_outputs(outputs_of(answer), expected, f"post {answer.post}")


def check_outputs(outputs: Tensors, expected: Tensors, asked: str) -> None:
    """BenchError that names `asked` unless `outputs` hold `expected`, to float32 rounding."""
    for name, right in expected.items():
        found = outputs.get(name)
        if found is None or found.shape != right.shape or not np.allclose(found, right, 1e-4, 1e-5):
            raise BenchError(f"{asked}: output {name!r} is not the reference's")


def check_echo(answer: Answer, posts: list[bytes]) -> None:
    """BenchError unless the answer is the body that was posted."""
    if answer.body != body_of(posts[answer.post]):
        raise BenchError(f"post {answer.post}: the echo is not what was sent")


def _post(model: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = [f"POST /v2/models/{model}/infer HTTP/1.1", "Host: bench"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def _header(head: bytes, name: str) -> str | None:
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.lower() == name.lower().encode():
            return value.strip().decode()
    return None


TOKENS = 16  # a short sentence
FIRST, LAST = 101, 102  # what BERT's tokenizer puts around every sentence
WORDS = (1000, 20_000)  # whole words of its vocabulary


def sentence(name: str, tokens: int = TOKENS) -> dict[str, Array]:
    """One sentence of so many tokens as MiniLM takes it, another for each `name`."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    ids = random.integers(*WORDS, tokens, np.int64)
    ids[0], ids[-1] = FIRST, LAST
    return {
        "input_ids": ids.reshape(1, tokens),
        "attention_mask": np.ones((1, tokens), np.int64),
    }


def noise(rows: int, columns: int, seed: int) -> Array:
    """A matrix of float32 noise."""
    return np.random.default_rng(seed).standard_normal((rows, columns), np.float32)
