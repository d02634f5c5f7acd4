"""The sound helpers, against known notes and known spectra."""

from __future__ import annotations

import numpy as np
import pytest

from deploy.samples import media
from deploy.samples.wheels import WheelFolder


@pytest.mark.parametrize(
    ("hertz", "name"), [(440.0, "A4"), (261.63, "C4"), (27.5, "A0"), (466.16, "A#4")]
)
def test_a_frequency_has_the_name_of_its_key(hertz: float, name: str) -> None:
    """Concert pitch: 440 Hz is A4."""
    assert media.note(media.nearest_midi(hertz)) == name


def test_a_higher_tone_lights_a_higher_mel_band() -> None:
    """Each tone is strongest in one of the 40 bands, and the order is kept."""
    tones = [media.tone(hertz, 16_000, 16_000).astype(np.float32) for hertz in (200, 1000, 4000)]
    bands = [int(media.mel_power(tone).mean(0).argmax()) for tone in tones]
    assert bands == sorted(set(bands))


def test_a_quiet_voice_is_made_as_loud_as_the_encoder_expects() -> None:
    """Below -30 dBFS the level does not matter; above it is left alone."""
    tone = media.tone(440, 16_000, 16_000).astype(np.float32)
    quiet, quieter = media.mel_power(tone / 100), media.mel_power(tone / 1000)
    np.testing.assert_allclose(quiet, quieter, rtol=1e-3, atol=1e-6)
    assert media.mel_power(tone).max() > 100 * quiet.max()


def test_the_recording_is_half_a_minute_of_16_khz(wheels: WheelFolder) -> None:
    """Thirty seconds, one channel, within -1 and 1."""
    signal = media.speech(wheels)
    assert signal.shape == (30 * media.SPEECH_RATE,)
    assert signal.dtype == np.float32
    assert 0.1 < np.abs(signal).max() <= 1
