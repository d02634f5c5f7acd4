"""Silero VAD with the batch as the first dimension of its state, so that streams can be batched."""

from __future__ import annotations

from torch import Tensor, nn


class StateFirst(nn.Module):
    """float32 [B, 576] of 16 kHz sound and state [B, 2, 128] -> probability [B, 1] and state."""

    def __init__(self, published: nn.Module) -> None:
        super().__init__()
        self.published = published

    def forward(self, audio: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        speech, after = self.published(audio, state.transpose(0, 1))
        return speech, after.transpose(0, 1)
