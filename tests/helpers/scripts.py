"""TorchScript modules whose rows know of each other, at a fixed cost so that batches pay."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Drops(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[x[:, 0] > 0]


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(0, keepdim=True)


class Transposes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1) if x.size(0) == x.size(1) else x


class Sorts(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sort(x, 0)[0]


class Whitens(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


class Rotates(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[1:], x[:1]])


class TimeFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]


class Attends(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x @ x.t(), 1) @ x


class Quantises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        scale = x.abs().max() / 127 + 1e-9
        return torch.round(x / scale) * scale


class FromFour(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.flip(x, [0]) if x.size(0) >= 4 else x


MIXING_MODULES: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (
        Drops, Mean, Transposes, Sorts, Whitens, Rotates, TimeFirst, Attends, Quantises, FromFour,
    )
}  # fmt: skip


class Heavy(nn.Module):
    """`inner` after some work whose cost does not depend on the rows."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.weight = nn.Parameter(torch.rand(384, 384) / 384, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        work: Tensor = self.weight
        for _ in range(4):
            work = torch.tanh(torch.mm(work, self.weight))
        return self.inner(x) + work[0, 0] * 0


class Poisoned(nn.Module):
    """One row that is no number spoils all of its batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if bool(torch.isfinite(x).all()) else torch.zeros_like(x)


class Sleeps(nn.Module):
    """One token, among so many, changes the answers of all rows."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x[:1] if bool((x == 7).any()) else x


class Scaled(nn.Module):
    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        return x if scale is None else x * scale


class Odd(nn.Module):
    """Another shape at every other call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        return x[:, :2] if int(self.calls.item()) % 2 == 0 else x


class Kernel(nn.Module):
    """It takes images of 5 and more."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)
