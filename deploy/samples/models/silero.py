"""Silero VAD: is this 32 ms of sound speech? Stateful: the caller carries the state along."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np

from deploy.samples import media
from deploy.samples.packages import PYANNOTE_AUDIO, SILERO_VAD
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

STEP = 512
CONTEXT = 64  # each window begins with the end of the one before
WINDOW = CONTEXT + STEP
STATE = (2, 128)
SILENCE_S = 2.0
SPEECH_S = 12.3
WARM_STEPS = 31  # a second of sound before the window that is asked about


def make(place: Workplace) -> Made:
    import torch

    from deploy.samples import exporting

    examples = (torch.zeros(2, WINDOW), torch.zeros(2, *STATE))
    exporting.write_torchscript(_module(place.wheels), examples, place.folder / "model.pt")
    return Made({"model.pt": place.folder / "model.pt"})


def request(wheels: WheelFolder) -> Tensors:
    """Row 0 is silence, row 1 is speech; each with the state after the second before it."""
    signal = media.speech(wheels)
    model = reference(wheels, {})
    rows = [_listen(model, signal, start_s) for start_s in (SILENCE_S, SPEECH_S)]
    return {name: np.concatenate([row[name] for row in rows]) for name in ("audio", "state")}


def reference(wheels: WheelFolder, files: Files) -> Model:
    from deploy.samples import weights

    return weights.plain(_module(wheels), ["audio", "state"], ["speech", "state"])


def say(outputs: Tensors, known: Known) -> str:
    silence, speech = outputs["speech"][:, 0]
    return f"speech {speech:.2f} / silence {silence:.2f}"


def right(outputs: Tensors, known: Known) -> bool:
    silence, speech = outputs["speech"][:, 0]
    return bool(speech > 0.9 and silence < 0.1)


def _listen(model: Model, signal: media.Signal, start_s: float) -> Tensors:
    """What the model is given after `WARM_STEPS` windows from `start_s` on."""
    state = np.zeros((1, *STATE), np.float32)
    for step in range(WARM_STEPS):
        state = model({"audio": _window(signal, start_s, step), "state": state})["state"]
    return {"audio": _window(signal, start_s, WARM_STEPS), "state": state}


def _window(signal: media.Signal, start_s: float, step: int) -> media.Signal:
    first = round(start_s * media.SPEECH_RATE) + step * STEP - CONTEXT
    return signal[None, first : first + WINDOW].copy()


def _module(wheels: WheelFolder) -> nn.Module:
    """The package's 16 kHz model, its state given and taken with the batch first."""
    import torch

    from deploy.samples.nets.silero import StateFirst

    published = io.BytesIO(wheels.read(SILERO_VAD, "silero_vad/data/silero_vad.jit"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        both_rates = torch.jit.load(published, "cpu")  # type: ignore[no-untyped-call]
    return StateFirst(both_rates._model).eval()


SAMPLE = Sample(
    name="silero-vad",
    title="Silero VAD: is this speech? (stateful)",
    wheels=(SILERO_VAD, PYANNOTE_AUDIO),
    licence=SILERO_VAD.licence,
    platform="pytorch_torchscript",
    inputs=[fp32("audio", ANY, WINDOW), fp32("state", ANY, *STATE)],
    outputs=[fp32("speech", ANY, 1), fp32("state", ANY, *STATE)],
    batching=Batching(max_size=64),
    warmup=[{"audio": zeros(1, WINDOW), "state": zeros(1, *STATE)}],
    make=make,
    request=request,
    reference=reference,
    say=say,
    right=right,
)
