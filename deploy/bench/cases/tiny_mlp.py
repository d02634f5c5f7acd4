"""The tiny MLP's request, as three cases send it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deploy.bench.cases.beside_echo import BesideEcho, beside_echo
from deploy.bench.posts import json_post
from deploy.bench.workbench import Workbench

MODEL = "tiny-mlp"


@contextmanager
def tiny_mlp(bench: Workbench, name: str) -> Iterator[BesideEcho]:
    """One row of 16 numbers as V2 JSON; the answer is 16 numbers."""
    (built,) = bench.samples([MODEL])
    posts = [json_post(MODEL, built.sample_request())]
    with beside_echo(bench, name, MODEL, posts, [built.known().answer]) as running:
        yield running
