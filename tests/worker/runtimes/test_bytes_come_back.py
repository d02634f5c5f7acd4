"""Loading and unloading again and again leaves a process as large as it was, in every format."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shared.manifest import DECODER
from shared.platforms import PLATFORMS
from tests.worker.runtimes import formats
from tests.worker.runtimes.formats import FORMATS, Publish
from worker.packaging.architecture import pack_architecture
from worker.packaging.result import Packed
from worker.runtimes.architectures import architecture
from worker.runtimes.pytorch_architecture import build_skeleton

ROOT = Path(__file__).parents[3]
CYCLES, SETTLING = 20, 5
WIDTH = 2048  # one weight of 16 MiB
BERT = {  # nearly all of it is read by every call: pages that nobody touched need not come back
    "hidden_size": 512, "intermediate_size": 2048, "vocab_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 8,
}  # fmt: skip


def pack_bert(folder: Path) -> Packed:
    kind = architecture("bert_encoder")
    skeleton = build_skeleton(kind, kind.config(**BERT))
    return pack_architecture(
        "bert_encoder", BERT, skeleton.to_empty(device="cpu").state_dict(), folder
    )


@pytest.fixture(params=sorted(PLATFORMS))
def folder(
    request: pytest.FixtureRequest, publish: Publish, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:  # fmt: skip
    """A model of 16 MiB or more, its manifest, and inputs for it."""
    if request.param == "pytorch_architecture":
        ones = np.ones((2, 8), "<i8")
        local, inputs = publish(pack_bert(tmp_path)), {"input_ids": ones, "attention_mask": ones}
    else:
        monkeypatch.setattr(formats, "WIDTH", WIDTH)
        kind = FORMATS[request.param]
        local, inputs = publish(kind.pack(tmp_path, 0)), kind.inputs(2)
    place = next(iter(local.files.values())).parent
    (place / "manifest.json").write_bytes(local.manifest.encode())
    np.savez(place / "inputs.npz", **inputs)
    return place


def slope(figures: list[int]) -> float:
    """Bytes per cycle, by least squares, once the first cycles have set everything up."""
    return float(np.polyfit(np.arange(len(figures) - SETTLING), figures[SETTLING:], 1)[0])


def test_every_byte_comes_back_over_twenty_cycles(folder: Path):
    """What a loader thread brought and the device thread freed is the system's again, right after
    the unload. Neither the heap nor what is resident in all grows by a notable part of the model.
    """
    command = [sys.executable, "-m", "tests.worker.runtimes.cycling", str(folder), str(CYCLES)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout)
    size = DECODER.decode((folder / "manifest.json").read_bytes()).total_bytes
    assert size > 16 << 20
    assert figures["alive"] == []
    came_back = np.subtract(figures["loaded"], figures["resident"])
    assert min(came_back) > 0.9 * size, f"of {size} bytes came back {came_back}"
    assert abs(slope(figures["heap"])) < size / 50, figures["heap"]
    assert abs(slope(figures["resident"])) < size / 50, figures["resident"]
