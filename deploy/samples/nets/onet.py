"""O-Net, the last stage of the MTCNN face cascade.

State dict names are those of `facenet_pytorch/data/onet.pt`.
"""

from __future__ import annotations

from torch import Tensor, nn


class ONet(nn.Module):
    """float32 [B, 3, 48, 48] in (-1, 1) -> box offsets [B, 4], landmarks [B, 10] and
    [B, 2] probabilities of (no face, face)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.pool3 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.pool1(self.prelu1(self.conv1(image)))
        hidden = self.pool2(self.prelu2(self.conv2(hidden)))
        hidden = self.pool3(self.prelu3(self.conv3(hidden)))
        hidden = self.prelu4(self.conv4(hidden))
        # The weights come from a framework that counts width before height.
        hidden = hidden.permute(0, 3, 2, 1).flatten(1)
        hidden = self.prelu5(self.dense5(hidden))
        return self.dense6_2(hidden), self.dense6_3(hidden), self.dense6_1(hidden).softmax(1)
