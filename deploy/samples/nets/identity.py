"""Gives back what it got: for measuring what everything around a model costs."""

from __future__ import annotations

from torch import Tensor, nn


class Identity(nn.Module):
    """float32 [B, N] -> a copy of it."""

    def forward(self, given: Tensor) -> Tensor:
        return given.clone()
