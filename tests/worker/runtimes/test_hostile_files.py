"""Random damage to a model's files gives a typed error or a model that still answers."""

from __future__ import annotations

import hashlib
import random

import pytest

from shared.errors import WarmrouteError
from tests.worker.runtimes.formats import FORMATS
from worker.device.cpu import CpuDevice
from worker.runtimes.base import Trust, load
from worker.runtimes.pytorch_program import shared_program
from worker.runtimes.weights import attach

# TorchScript and ONNX files go to native parsers: their hardness is not ours to test.
OURS = ["pytorch_architecture", "pytorch_program", "pytorch_pt2"]
ROUNDS = 60


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """A copy with a few bytes changed, cut out or doubled, mostly near the start or the end."""
    data = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        near = min(len(data), 4000)
        at = rng.choice([rng.randrange(near), len(data) - 1 - rng.randrange(near)])
        kind = rng.random()
        if kind < 0.6:
            data[at] = rng.choice([rng.randrange(256), ord(rng.choice('0123456789[]{}",:-'))])
        elif kind < 0.8:
            del data[at : at + rng.randint(1, 30)]
        else:
            data[at:at] = data[at : at + rng.randint(1, 30)]
    return bytes(data)


@pytest.mark.parametrize("platform", OURS)
@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_file_ends_in_a_typed_error_or_an_answer(platform, seed, publish, tmp_path):
    """No exception of another kind, and no crash, whatever a file holds."""
    rng = random.Random(seed)
    kind = FORMATS[platform]
    local = publish(kind.pack(tmp_path / "m", 0))
    inputs = kind.inputs(1)
    # The hash of a program is checked before it is read; the reader must be hard all the same.
    for name in (n for n in local.files if n != "program.json"):
        raw = local.path(name).read_bytes()
        for _ in range(ROUNDS // len(local.files)):
            local.path(name).write_bytes(damaged(raw, rng))
            try:
                load(local.manifest, local.files, CpuDevice(), Trust(code=True)).run(inputs)
            except WarmrouteError as error:
                assert error.message
        local.path(name).write_bytes(raw)


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_program_ends_in_a_typed_error(seed, publish, tmp_path):
    """Graphs changed at random are refused, or run to an answer or an error of their operators."""
    rng = random.Random(seed)
    kind = FORMATS["pytorch_program"]
    local = publish(kind.pack(tmp_path / "m", 0))
    raw = local.path("program.json").read_bytes()
    device = CpuDevice()
    tensors = attach(local.manifest, local.files, device).tensors
    for _ in range(ROUNDS):
        changed = damaged(raw, rng)
        sha256 = hashlib.sha256(changed).hexdigest()
        try:
            program = shared_program(sha256, lambda changed=changed: changed, device)
            program.check_manifest(local.manifest)
            program.bind(tensors)
        except WarmrouteError as error:
            assert error.message
