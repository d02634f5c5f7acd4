"""Speaker encoder (GE2E): three LSTM layers over a mel spectrogram.

State dict names are those of `model_state` in `resemblyzer/pretrained.pt`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

MELS = 40
WIDTH = 256


class SpeakerEncoder(nn.Module):
    """float32 [B, 160, 40] (1.6 s of mel power) -> [B, 256], not negative and of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MELS, WIDTH, num_layers=3, batch_first=True)
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, mel: Tensor) -> Tensor:
        _, (hidden, _) = self.lstm(mel)
        raw = self.linear(hidden[-1]).relu()
        return functional.normalize(raw, dim=1)
