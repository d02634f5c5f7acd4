"""Requests to every endpoint, from well-formed to hopeless, the same ones for the same seed."""

from __future__ import annotations

import gzip
import json
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Specs = Sequence[tuple[str, str, Sequence[int]]]
Document = dict[str, Any]

SIZES = {"FP32": 4, "INT64": 8, "BOOL": 1, "FP16": 2, "UINT8": 1}
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 1e308, 1.5, "", "a", "\0", "é😀", "x" * 2000,
    [], {}, [[]], [None], {"a": 1}, "NaN", [1] * 1500, float("nan"), float("inf"), "-1",
)  # fmt: skip
PARAMETERS = (
    "binary_data_size", "binary_data", "binary_data_output", "classification", "sequence_id",
    "sequence_start", "priority", "timeout", "shared_memory_region", "unload_dependents", "foo",
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
HEADERS: tuple[tuple[str, Sequence[str]], ...] = (
    ("Accept", ("application/json", "application/octet-stream", "*/*;q=x")),
    ("Content-Encoding", ("gzip", "br", "zstd", "gzip, gzip", "identity", "x")),
    ("Content-Type", ("application/json", "text/html", "")),
    ("Expect", ("100-continue", "200-ok")),
    ("Idempotency-Key", ("a", "x" * 300, "")),
    ("Prefer", ("respond-async", "respond-async, wait=1", "wait=99999999", ";;;")),
    ("Inference-Header-Content-Length", ("0", "-1", "abc", "1e3", "9" * 14, "9" * 5000)),
    ("Warmroute-Timeout", ("1", "0", "-1", "1e9", "nan", "x", "9" * 5000)),
    ("traceparent", ("00-" + "a" * 32 + "-" + "b" * 16 + "-01", "x")),
)


class Asked(NamedTuple):
    """One HTTP request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Requests:
    """Makes requests for these models (their inputs by name)."""

    def __init__(self, models: Mapping[str, Specs], seed: int) -> None:
        self._models = models
        self._random = random.Random(seed)

    def next(self) -> Asked:
        """Mostly inference, as that is where most can be said wrong."""
        chance = self._random.random()
        if chance < 0.6:
            return self._inference()
        return self._anything() if chance < 0.7 else self._endpoint()

    # Inference -------------------------------------------------------------------------------

    def _inference(self) -> Asked:
        draw = self._random
        model = draw.choice(list(self._models))
        document, blobs = self._document(self._models[model])
        for _ in range(draw.choice((0, 0, 0, 1, 1, 2, 3))):
            changed = self._mutated(document)
            document = changed if isinstance(changed, dict) else document
        head = json.dumps(document, ensure_ascii=draw.random() < 0.5).encode(errors="replace")
        headers = self._headers()
        if blobs or draw.random() < 0.05:
            headers["Inference-Header-Content-Length"] = str(
                len(head) + draw.choice((0,) * 30 + (1, -1))
            )
        body = self._damaged(head + blobs)
        if draw.random() < 0.05:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        version = draw.choice(("",) * 6 + ("/versions/1", "/versions/9", "/versions/x"))
        return Asked("POST", f"/v2/models/{model}{version}/infer", headers, body)

    def _document(self, specs: Specs) -> tuple[Document, bytes]:
        draw, inputs, blobs = self._random, [], b""
        for name, datatype, sizes in specs:
            shape = [draw.choice((0, 1, 2, 3)) if size < 0 else size for size in sizes]
            count = 1
            for size in shape:
                count *= size
            given: Document = {"name": name, "datatype": datatype, "shape": shape}
            if datatype == "FP16" or draw.random() < 0.4:
                blob = self._blob(datatype, count)
                given["parameters"] = {"binary_data_size": len(blob)}
                blobs += blob
            else:
                given["data"] = [self._value(datatype) for _ in range(count)]
            inputs.append(given)
        document: Document = {"inputs": inputs}
        if draw.random() < 0.3:
            document["parameters"] = {draw.choice(PARAMETERS): draw.choice(ODD)}
        if draw.random() < 0.2:
            document["outputs"] = [{"name": draw.choice(("y", "nosuch", ""))}]
        return document, blobs

    def _blob(self, datatype: str, count: int) -> bytes:
        if datatype == "BYTES":
            words = (self._random.randbytes(self._random.randrange(5)) for _ in range(count))
            return b"".join(struct.pack("<I", len(word)) + word for word in words)
        raw = self._random.randbytes(count * SIZES[datatype])
        return bytes(byte & 1 for byte in raw) if datatype == "BOOL" else raw

    def _value(self, datatype: str) -> Any:
        draw = self._random
        if datatype == "BYTES":
            return draw.choice(("", "a", "ünï", "\0"))
        if datatype == "BOOL":
            return draw.random() < 0.5
        return draw.randrange(100) if datatype != "FP32" else draw.choice((0, -1.5, 3e38, 1e-40))

    def _mutated(self, value: Any) -> Any:
        """The same, with one place in it changed."""
        draw = self._random
        if isinstance(value, dict) and value and draw.random() < 0.8:
            key = draw.choice(list(value))
            if draw.random() < 0.3:
                return {k: v for k, v in value.items() if k != key}
            other = draw.choice((key, key, key, "extra", "data", "shape", "outputs", "id"))
            return {**value, other: self._mutated(value[key])}
        if isinstance(value, list) and value and draw.random() < 0.8:
            at = draw.randrange(len(value))
            middle = draw.choice(([], [value[at]] * 2, [self._mutated(value[at])]))
            return [*value[:at], *middle, *value[at + 1 :]]
        return draw.choice(ODD)

    def _damaged(self, body: bytes) -> bytes:
        draw = self._random
        damages: tuple[Callable[[], bytes], ...] = (
            lambda: body[: draw.randrange(len(body) + 1)],
            lambda: body + draw.randbytes(5),
            lambda: draw.randbytes(draw.randrange(200)),
            lambda: b"[" * 50_000,
            lambda: b'{"a":' * 20_000,
            lambda: b"",
        )
        return draw.choice(damages)() if draw.random() < 0.12 else body

    # The rest --------------------------------------------------------------------------------

    def _endpoint(self) -> Asked:
        draw, model = (
            self._random,
            self._random.choice([*self._models, "nosuch", "a..b", "x" * 200]),
        )
        path = draw.choice(PATHS).format(model=model, id=f"{draw.getrandbits(128):032x}")
        body = json.dumps(self._mutated({"parameters": {"a": 1}, "ready": True})).encode()
        headers = self._headers()
        return Asked(draw.choice(METHODS), path, headers, body if draw.random() < 0.6 else b"")

    def _anything(self) -> Asked:
        draw = self._random
        letters = "/v2models.%25é?&=-_~:@ab01"
        path = "/" + "".join(draw.choice(letters) for _ in range(draw.randrange(30)))
        quoted = path.encode().decode("latin-1")
        return Asked(draw.choice(METHODS), quoted, self._headers(), b"")

    def _headers(self) -> dict[str, str]:
        draw = self._random
        return {name: draw.choice(values) for name, values in HEADERS if draw.random() < 0.04}


PATHS = (
    "/v2", "/v2/", "/", "/v2/health/live", "/v2/health/ready", "/v2/health/ready/", "/v2/models",
    "/v2/models/{model}", "/v2/models/{model}/", "/v2/models/{model}/ready", "/v2/models/stats",
    "/v2/models/{model}/versions/1", "/v2/models/{model}/versions/0/ready",
    "/v2/models/{model}/config",
    "/v2/models/{model}/stats", "/v2/models/{model}/residency", "/v2/models/{model}/policy",
    "/v2/models/{model}/trace/setting", "/v2/logging", "/v2/trace/setting",
    "/v2/systemsharedmemory/status", "/v2/cudasharedmemory/region/a/register",
    "/v2/repository/index", "/v2/repository/models/{model}/load",
    "/v2/repository/models/{model}/unload", "/v2/residency", "/v2/events?limit=3",
    "/v2/events?after=x&limit=-1", "/v2/requests/{id}", "/v2/requests/{id}?wait=0.1",
    "/v2/requests/{id}?wait=nan", "/v2/requests/x", "/v2/requests", "/v2/sessions",
    "/v2/sessions/{id}", "/v2/dead", "/v2/dead?limit=x", "/v2/dead/0-1", "/v2/dead/0-1/replay",
    "/v2/workers", "/metrics", "/v2/models/{model}/generate",
)  # fmt: skip
