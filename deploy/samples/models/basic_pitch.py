"""Basic Pitch: which notes sound in two seconds of music?"""

from __future__ import annotations

import numpy as np

from deploy.samples import media
from deploy.samples.packages import BASIC_PITCH
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

MODEL = "basic_pitch/saved_models/icassp_2022/nmp.onnx"
# The names that the published file has for its tensors.
AUDIO = "serving_default_input_2:0"
ONSETS = "StatefulPartitionedCall:2"
NOTES = "StatefulPartitionedCall:1"
CONTOURS = "StatefulPartitionedCall:0"
RATE = 22_050
SAMPLES = 43_844
FRAMES = 172
KEYS = 88
LOWEST_MIDI = 21
C_MAJOR_HZ = (261.63, 329.63, 392.00)
SOUNDING = 0.3


def make(place: Workplace) -> Made:
    path = place.folder / "model.onnx"
    path.write_bytes(place.wheels.read(BASIC_PITCH, MODEL))
    return Made({"model.onnx": path})


def request(wheels: WheelFolder) -> Tensors:
    """A chord of three sines: C4, E4 and G4."""
    chord = np.sum([media.tone(hertz, SAMPLES, RATE) for hertz in C_MAJOR_HZ], axis=0)
    return {AUDIO: (0.3 * chord).astype(np.float32)[None, :, None]}


def reference(wheels: WheelFolder, files: Files) -> Model:
    from deploy.samples.sample import onnx_session

    return onnx_session(wheels.read(BASIC_PITCH, MODEL))


def say(outputs: Tensors, known: Known) -> str:
    notes = _sounding(outputs)
    named = " ".join(media.note(midi) for midi in notes)
    return f"{named} (C major)" if notes == [60, 64, 67] else named or "no note"


def right(outputs: Tensors, known: Known) -> bool:
    return _sounding(outputs) == [60, 64, 67]


def _sounding(outputs: Tensors) -> list[int]:
    """MIDI notes that sound over the whole window."""
    strength = outputs[NOTES][0].mean(0)
    return [int(key) + LOWEST_MIDI for key in np.flatnonzero(strength > SOUNDING)]


SAMPLE = Sample(
    name="basic-pitch",
    title="Basic Pitch: which notes sound?",
    wheels=(BASIC_PITCH,),
    licence=BASIC_PITCH.licence,
    platform="onnxruntime_onnx",
    inputs=[fp32(AUDIO, ANY, SAMPLES, 1)],
    outputs=[
        fp32(ONSETS, ANY, FRAMES, KEYS),
        fp32(NOTES, ANY, FRAMES, KEYS),
        fp32(CONTOURS, ANY, FRAMES, 3 * KEYS),
    ],
    batching=Batching(max_size=4),
    warmup=[{AUDIO: zeros(1, SAMPLES, 1)}],
    make=make,
    request=request,
    reference=reference,
    say=say,
    right=right,
)
