"""Sound and pictures for the samples: recordings, tones, notes, mel spectra, photographs."""

from __future__ import annotations

import io
import math
import wave
from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.samples.packages import PYANNOTE_AUDIO, SCIKIT_IMAGE
from deploy.samples.wheels import WheelFolder

Signal = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels

CAT = "skimage/data/chelsea.png"  # 451 x 300, Chelsea, by Stefan van der Walt, CC0
ASTRONAUT = "skimage/data/astronaut.png"  # 512 x 512, Eileen Collins, NASA, public domain
SPEECH_RATE = 16_000
WINDOW = 400  # samples of one mel frame: 25 ms
HOP = 160  # 10 ms
MELS = 40
LOUDNESS_DBFS = -30.0
_LINEAR_HZ = 1000.0  # below, the mel scale is linear; above, logarithmic
_LINEAR_MELS = 15.0
_LOG_STEP = math.log(6.4) / 27
_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def speech(wheels: WheelFolder) -> Signal:
    """Half a minute of two people talking on the telephone, 16 kHz in (-1, 1). The first six
    seconds are silent; the package's `sample.rttm` has the times at which each of them speaks."""
    recording = wheels.read(PYANNOTE_AUDIO, "pyannote/audio/sample/sample.wav")
    with wave.open(io.BytesIO(recording)) as file:
        frames = file.readframes(file.getnframes())
    return np.frombuffer(frames, "<i2").astype(np.float32) / np.float32(32768)


def cut(signal: Signal, start_s: float, samples: int) -> Signal:
    """`samples` values from `start_s` on."""
    start = round(start_s * SPEECH_RATE)
    return signal[start : start + samples]


def tone(hertz: float, samples: int, rate: int) -> npt.NDArray[np.float64]:
    """A sine of amplitude 1."""
    return np.sin(2 * np.pi * hertz * np.arange(samples) / rate)


def note(midi: int) -> str:
    """The name of a MIDI note: 69 is A4."""
    return f"{_NOTES[midi % 12]}{midi // 12 - 1}"


def nearest_midi(hertz: float) -> int:
    """The MIDI note nearest to a frequency: 440 Hz is 69."""
    return round(69 + 12 * math.log2(hertz / 440))


def mel_power(signal: Signal) -> Signal:
    """[frames, 40] of mel power (not its logarithm) at 100 frames a second; quiet signals are
    first made as loud as the speaker encoder was trained on."""
    loudness = 10 * math.log10(float(np.mean(np.square(signal))))
    gain = 10 ** (max(LOUDNESS_DBFS - loudness, 0) / 20)
    padded = np.pad(signal * gain, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.abs(np.fft.rfft(frames * hann)) ** 2
    return np.asarray(power @ _mel_bank().T, np.float32)


def crop(wheels: WheelFolder, member: str, box: Box, side: int) -> npt.NDArray[np.uint8]:
    """The `box` of a photograph as [side, side, 3] RGB."""
    from PIL import Image

    with Image.open(io.BytesIO(wheels.read(SCIKIT_IMAGE, member))) as image:
        part = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, box=box)
    return np.asarray(part)


def _mel_bank() -> npt.NDArray[Any]:
    """Slaney's triangles, each of the same area."""
    top = _LINEAR_MELS + math.log(SPEECH_RATE / 2 / _LINEAR_HZ) / _LOG_STEP
    mels = np.linspace(0, top, MELS + 2)
    edges = np.where(
        mels < _LINEAR_MELS,
        mels * _LINEAR_HZ / _LINEAR_MELS,
        _LINEAR_HZ * np.exp((mels - _LINEAR_MELS) * _LOG_STEP),
    )
    bins = np.linspace(0, SPEECH_RATE / 2, WINDOW // 2 + 1)
    distance = edges[:, None] - bins
    width = np.diff(edges)[:, None]
    triangles = np.minimum(-distance[:-2] / width[:-1], distance[2:] / width[1:])
    return np.maximum(triangles, 0) * (2 / (edges[2:] - edges[:-2]))[:, None]
