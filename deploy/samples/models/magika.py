"""Magika: what kind of file is this? Answers from the first and last kilobyte."""

from __future__ import annotations

import json

import numpy as np

from deploy.samples.packages import MAGIKA
from deploy.samples.sample import (
    ANY,
    Files,
    Known,
    Made,
    Model,
    Sample,
    Tensors,
    Workplace,
    fp32,
    int32,
    zeros,
)
from deploy.samples.wheels import WheelFolder
from shared.manifest import Batching

MODEL = "magika/models/standard_v3_3/model.onnx"
CONFIG = "magika/models/standard_v3_3/config.min.json"
SIDE = 1024  # bytes from each end
PADDING = 256
KINDS = 214
PYTHON = b'''"""Words of a text, most frequent first."""

import sys
from collections import Counter


def frequencies(text: str) -> list[tuple[str, int]]:
    return Counter(text.lower().split()).most_common()


if __name__ == "__main__":
    for word, count in frequencies(sys.stdin.read()):
        print(f"{count:6d} {word}")
'''
SHELL = b"""#!/bin/sh
set -e
for file in "$@"; do
    if [ -f "$file" ]; then
        wc -l < "$file"
    fi
done
"""


def features(content: bytes) -> list[int]:
    """The 2048 numbers that stand for a file: bytes of both ends, padded in the middle."""
    head = list(content.lstrip()[:SIDE])
    tail = list(content.rstrip()[-SIDE:])
    return head + [PADDING] * (SIDE - len(head)) + [PADDING] * (SIDE - len(tail)) + tail


def make(place: Workplace) -> Made:
    path = place.folder / "model.onnx"
    path.write_bytes(place.wheels.read(MAGIKA, MODEL))
    config = json.loads(place.wheels.read(MAGIKA, CONFIG))
    return Made({"model.onnx": path}, words={"kinds": config["target_labels_space"]})


def request(wheels: WheelFolder) -> Tensors:
    """Row 0 is a Python program, row 1 a shell script."""
    return {"bytes": np.array([features(PYTHON), features(SHELL)], np.int32)}


def reference(wheels: WheelFolder, files: Files) -> Model:
    from deploy.samples.sample import onnx_session

    return onnx_session(wheels.read(MAGIKA, MODEL))


def say(outputs: Tensors, known: Known) -> str:
    rows = outputs["target_label"]
    return ", ".join(f"{_kind(row, known)} source {row.max():.2f}" for row in rows)


def right(outputs: Tensors, known: Known) -> bool:
    return [_kind(row, known) for row in outputs["target_label"]] == ["python", "shell"]


def _kind(row: np.ndarray, known: Known) -> str:
    return known.words["kinds"][int(row.argmax())]


SAMPLE = Sample(
    name="magika",
    title="Magika: what kind of file is this?",
    wheels=(MAGIKA,),
    licence=MAGIKA.licence,
    platform="onnxruntime_onnx",
    inputs=[int32("bytes", ANY, 2 * SIDE)],
    outputs=[fp32("target_label", ANY, KINDS)],
    batching=Batching(max_size=16),
    warmup=[{"bytes": zeros(1, 2 * SIDE)}],
    make=make,
    request=request,
    reference=reference,
    say=say,
    right=right,
)
