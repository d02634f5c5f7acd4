"""Speaker encoder: whose voice is this? Two voices are the same if their vectors point alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deploy.samples import media
from deploy.samples.packages import PYANNOTE_AUDIO, RESEMBLYZER
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
    zeros,
)
from deploy.samples.wheels import WheelFolder
from shared.manifest import Batching

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "resemblyzer/pretrained.pt"
FRAMES = 160
WIDTH = 256
# Seconds into the recording: the first two are one person (speaker91), the third is the other.
SAME_S, SAME_AGAIN_S, OTHER_S = 14.7, 16.2, 12.3
MARGIN = 0.1


def make(place: Workplace) -> Made:
    import torch

    from deploy.samples import exporting

    # A traced LSTM keeps its loop in one call; an exported one is unrolled over 160 steps.
    example = (torch.zeros(2, FRAMES, media.MELS),)
    exporting.write_torchscript(_module(place.wheels), example, place.folder / "model.pt")
    return Made({"model.pt": place.folder / "model.pt"})


def request(wheels: WheelFolder) -> Tensors:
    """1.6 s each of one person, the same person again, and the other person."""
    signal = media.speech(wheels)
    parts = [
        media.mel_power(media.cut(signal, start_s, FRAMES * media.HOP))[:FRAMES]
        for start_s in (SAME_S, SAME_AGAIN_S, OTHER_S)
    ]
    return {"mel": np.stack(parts)}


def reference(wheels: WheelFolder, files: Files) -> Model:
    from deploy.samples import weights

    return weights.plain(_module(wheels), ["mel"], ["embedding"])


def say(outputs: Tensors, known: Known) -> str:
    same, other = similarities(outputs)
    return f"same voice {same:.2f} / other voice {other:.2f}"


def right(outputs: Tensors, known: Known) -> bool:
    same, other = similarities(outputs)
    return same > other + MARGIN


def similarities(outputs: Tensors) -> tuple[float, float]:
    """Cosine of row 0 to row 1 and to row 2; the vectors have length 1."""
    first, second, third = outputs["embedding"]
    return float(first @ second), float(first @ third)


def _module(wheels: WheelFolder) -> nn.Module:
    from deploy.samples import weights
    from deploy.samples.nets.speaker import SpeakerEncoder

    state = weights.checkpoint(wheels, RESEMBLYZER, WEIGHTS)["model_state"]
    needed = {name: value for name, value in state.items() if not name.startswith("similarity_")}
    return weights.filled(SpeakerEncoder(), needed)


SAMPLE = Sample(
    name="speaker-encoder",
    title="Speaker encoder: are these the same voice?",
    wheels=(RESEMBLYZER, PYANNOTE_AUDIO),
    licence=RESEMBLYZER.licence,
    platform="pytorch_torchscript",
    inputs=[fp32("mel", ANY, FRAMES, media.MELS)],
    outputs=[fp32("embedding", ANY, WIDTH)],
    batching=Batching(max_size=16),
    warmup=[{"mel": zeros(1, FRAMES, media.MELS)}],
    make=make,
    request=request,
    reference=reference,
    say=say,
    right=right,
)
