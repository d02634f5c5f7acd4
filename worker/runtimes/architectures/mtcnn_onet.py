"""`mtcnn_onet`: the last stage of the MTCNN face cascade (O-Net).

Layer names and shapes are those of facenet-pytorch's `ONet`, so its weights are taken as they are.
"""

from __future__ import annotations

import torch
from msgspec import Struct
from torch import Tensor, nn

from shared.manifest import TensorSpec


class ONetConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """O-Net has one size: nothing to configure."""


def inputs(config: ONetConfig) -> list[TensorSpec]:
    """Crops of 48 by 48, channels first, scaled to about -1..1."""
    return [TensorSpec("images", "FP32", [-1, 3, 48, 48])]


def outputs(config: ONetConfig) -> list[TensorSpec]:
    """Corner corrections, five landmarks, and the two scores (no face, face)."""
    widths = {"boxes": 4, "landmarks": 10, "scores": 2}
    return [TensorSpec(name, "FP32", [-1, width]) for name, width in widths.items()]


class ONet(nn.Module):
    """fp32 images [B, 3, 48, 48] to boxes [B, 4], landmarks [B, 10] and scores [B, 2], whose column
    1 is the probability that the crop is a face."""

    def __init__(self, config: ONetConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=3)
        self.prelu1 = nn.PReLU(32)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3)
        self.prelu2 = nn.PReLU(64)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3 = nn.Conv2d(64, 64, kernel_size=3)
        self.prelu3 = nn.PReLU(64)
        self.pool3 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv4 = nn.Conv2d(64, 128, kernel_size=2)
        self.prelu4 = nn.PReLU(128)
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.pool1(self.prelu1(self.conv1(images)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.pool3(self.prelu3(self.conv3(x)))
        x = self.prelu4(self.conv4(x))
        # Width before height: the weights were trained in MATLAB's order.
        x = self.prelu5(self.dense5(x.permute(0, 3, 2, 1).flatten(1)))
        scores = torch.softmax(self.dense6_1(x), dim=1)
        return self.dense6_2(x), self.dense6_3(x), scores
