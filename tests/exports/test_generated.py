"""Any small module gives through the system what it gives by itself, alone and among others.

Every third looks at the other rows of its batch. `push` publishes that one without batches, says
so, and what is served is right all the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploy.cli.main import main
from tests.exports import torch_exports
from tests.exports.export import Export, assert_equal
from tests.exports.generated import generate
from tests.exports.test_exports import ask_at_once
from tests.exports.torch_modules import made
from tests.helpers.stack import Stack

WRITERS = {
    "script": torch_exports.script,
    "program": torch_exports.program,
    "whole": torch_exports.whole,
    "onnx": torch_exports.onnx_classic,
}
SEEDS = range(18)
BATCHES = ["--max-batch", "8"]

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_generated_module(
    seed: int, kind: str, stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generated, random = generate(seed), np.random.default_rng(seed)
    subject, name = generated.subject, f"generated-{kind}-{seed}"
    module = made(subject)
    push = ["push", name, *map(str, WRITERS[kind](subject, module, tmp_path))]
    assert main([*push, *BATCHES]) == 0
    told = capsys.readouterr().err
    assert ("may not share a batch" in told) is generated.mixes, told
    original = torch_exports.original(subject, module)
    for rows in (1, 2, 7):
        asked = subject.ask(random, rows)
        assert_equal(stack.client().infer(name, asked).outputs, original(asked), 1e-4)
    distinct = [subject.ask(random, 1) for _ in range(32)]
    ask_at_once(name, Export([], original, [], distinct, 1e-4), stack)
