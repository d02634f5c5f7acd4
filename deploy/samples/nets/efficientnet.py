"""EfficientNet-Lite0: mobile inverted bottlenecks with ReLU6 and no squeeze-and-excitation.

State dict names are those of the published `efficientnet-lite0-57934424.pth`.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-3
CLASSES = 1000


class Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expand: int
    inputs: int
    outputs: int


STAGES = (
    Stage(1, 3, 1, 1, 32, 16),
    Stage(2, 3, 2, 6, 16, 24),
    Stage(2, 5, 2, 6, 24, 40),
    Stage(3, 3, 2, 6, 40, 80),
    Stage(3, 5, 1, 6, 80, 112),
    Stage(4, 5, 2, 6, 112, 192),
    Stage(1, 3, 1, 6, 192, 320),
)


class SamePadding(nn.Conv2d):
    """A convolution padded as TensorFlow does: the odd pixel goes right and below."""

    def forward(self, image: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        side = image.shape[-1]
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        before, after = total // 2, total - total // 2
        padded: Tensor = functional.pad(image, (before, after, before, after))
        return super().forward(padded)


class Block(nn.Module):
    """Widen, convolve each channel alone, narrow; add the input where shapes allow."""

    def __init__(self, stage: Stage, inputs: int, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expand
        self.expands = stage.expand != 1
        self.adds = stride == 1 and inputs == stage.outputs
        if self.expands:
            self._expand_conv = nn.Conv2d(inputs, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=EPSILON)
        self._depthwise_conv = SamePadding(
            wide, wide, stage.kernel, stride, groups=wide, bias=False
        )
        self._bn1 = nn.BatchNorm2d(wide, eps=EPSILON)
        self._project_conv = nn.Conv2d(wide, stage.outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(stage.outputs, eps=EPSILON)

    def forward(self, image: Tensor) -> Tensor:
        hidden = image
        if self.expands:
            hidden = functional.relu6(self._bn0(self._expand_conv(hidden)))
        hidden = functional.relu6(self._bn1(self._depthwise_conv(hidden)))
        narrow: Tensor = self._bn2(self._project_conv(hidden))
        return narrow + image if self.adds else narrow


class EfficientNetLite0(nn.Module):
    """float32 [B, 3, 224, 224] (ImageNet mean and deviation) -> logits [B, 1000]."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SamePadding(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=EPSILON)
        self._blocks = nn.ModuleList(
            Block(stage, stage.outputs if again else stage.inputs, 1 if again else stage.stride)
            for stage in STAGES
            for again in range(stage.repeats)
        )
        self._conv_head = nn.Conv2d(320, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=EPSILON)
        self._fc = nn.Linear(1280, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        hidden = functional.relu6(self._bn0(self._conv_stem(image)))
        for block in self._blocks:
            hidden = block(hidden)
        hidden = functional.relu6(self._bn1(self._conv_head(hidden)))
        logits: Tensor = self._fc(hidden.mean((2, 3)))
        return logits
