"""`python -m tests.fuzz.door --count 20000 --seed 1`: requests at random to a cell of its own.

What may come back: an answer, or a refusal in our own form. Never a 500 that is not the model's own
making, never silence, and never a stack in a log.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from shared.manifest import Batching, Manifest, TensorSpec
from shared.repository import publish
from tests.fuzz.requests import Asked, Requests, Specs
from tests.helpers.http import Answer, exchange, request
from tests.helpers.stack import Stack
from tests.system.setup import open_stack

AT_ONCE = 6
OWN_FAULTS = ("model_failed",)
STACK = re.compile(r"^.{0,40}Traceback \(most recent", re.MULTILINE)


class Echo(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Rows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 - x.sum(1, keepdim=True)


class Picky(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert x.size(0) < 3, "at most two rows"
        return x


MODELS: Mapping[str, tuple[type[nn.Module], Specs, int]] = {
    "rows": (Rows, [("x", "FP32", (-1, 4))], 8),
    "echo-int64": (Echo, [("x", "INT64", (-1,))], 1),
    "echo-bool": (Echo, [("x", "BOOL", (-1, 2))], 1),
    "echo-half": (Echo, [("x", "FP16", (-1,))], 1),
    "echo-bytes": (Echo, [("x", "UINT8", (-1, -1))], 1),
    "scalar": (Echo, [("x", "FP32", ())], 1),
    "picky": (Picky, [("x", "FP32", (-1, 2))], 1),
}


@dataclass
class Found:
    """What was seen: how often each status, and what must not be."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def publish_models(stack: Stack) -> None:
    """Put the models that are asked into the repository."""
    for name, (module, specs, most) in MODELS.items():
        path = stack.folder / f"{name}.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.script(module().eval()).save(str(path))
        inputs = [TensorSpec(n, datatype, list(shape)) for n, datatype, shape in specs]
        outputs = [TensorSpec("y", spec.datatype, spec.shape) for spec in inputs]
        manifest = Manifest(
            name=name, version=1, platform="pytorch_torchscript", inputs=inputs, outputs=outputs,
            files=[], batching=Batching(max_size=most),
        )  # fmt: skip
        publish(stack.repository, manifest, {"model.pt": path})


def fuzz(stack: Stack, count: int, seed: int) -> Found:
    """Send `count` requests, a few at a time."""
    made, found, url = (
        Requests({n: m[1] for n, m in MODELS.items()}, seed),
        Found(),
        stack.gateways[0].url,
    )
    before = {process.name: process.child.pid for process in (*stack.gateways, *stack.workers)}
    with ThreadPoolExecutor(AT_ONCE) as callers:
        for _ in range(0, count, 500):
            batch = [made.next() for _ in range(min(500, count))]
            for asked, answer in zip(
                batch, callers.map(lambda a: _send(url, a), batch), strict=True
            ):
                found.statuses[answer.status if isinstance(answer, Answer) else 0] += 1
                found.faults += (f"{why}: {_short(asked)}" for why in faults_of(asked, answer))
    after = {process.name: process.child.pid for process in (*stack.gateways, *stack.workers)}
    if before != after:
        found.faults.append(f"processes: {before} before, {after} after")
    found.faults += (f"a stack in {log}" for log in _stacks(stack.folder))
    return found


def faults_of(asked: Asked, answer: Answer | Exception) -> Iterator[str]:
    """What is wrong with an answer."""
    if isinstance(answer, Exception):
        yield f"no answer ({type(answer).__name__}: {answer})"
        return
    code = answer.headers.get("warmroute-error", "")
    if answer.status == 500 and code not in OWN_FAULTS:
        yield f"500 {code} {answer.body[:200]!r}"
    if answer.status >= 400 and not code:
        yield f"{answer.status} without a word for it"
    if answer.status >= 400 and asked.method != "HEAD":
        try:
            told = json.loads(answer.body)["error"]
        except (ValueError, KeyError, TypeError):
            told = ""
        if not told or not isinstance(told, str):
            yield f"{answer.status} without an error in our form: {answer.body[:100]!r}"


def _send(url: str, asked: Asked) -> Answer | Exception:
    usual = {"Content-Length": str(len(asked.body))}
    try:
        sent = request(asked.method, asked.path, usual, asked.headers, asked.body)
        return exchange(url, sent, asked.method)
    except Exception as error:
        return error


def _short(asked: Asked) -> str:
    return f"{asked.method} {asked.path[:80]} {dict(asked.headers)} {asked.body[:300]!r}"


def _stacks(folder: Path) -> list[str]:
    """Where, and how each ends. (A model's own, in a line about its request, is none of ours.)"""
    return [
        f"{log.name}: {log.read_text()[at.start() :][:2000]}"
        for log in sorted(folder.glob("*.log"))
        for at in list(STACK.finditer(log.read_text()))[:1]
    ]


def main() -> int:
    """A cell, the requests, what was found; 1 if that is anything."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.door", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open_stack(Path(folder)) as stack:
        stack.scale(gateways=1, workers=2)
        publish_models(stack)
        found = fuzz(stack, options.count, options.seed)
    print(f"{options.count} requests, seed {options.seed}: {dict(found.statuses)}")
    print("\n".join(found.faults[:50]) or "no fault")
    return 1 if found.faults else 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
