"""The most memory that a call took while it ran, on a GPU: what torch's allocator counts.

What onnxruntime takes is not among it: its arena has a limit of its own.
"""

from __future__ import annotations

import torch


class AllocatedPeak:
    """Measures what calls take on the GPU `device` while they run. Used on the device thread, while
    no model is loaded or freed."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def start(self) -> int:
        """Before a call: the bytes allocated now."""
        torch.cuda.reset_peak_memory_stats(self._device)
        return torch.cuda.memory_allocated(self._device)

    def taken(self, before: int, kept: int) -> int:
        """How many bytes the call took at most, beside what it has `kept`."""
        highest = torch.cuda.max_memory_allocated(self._device)
        return max(0, highest - before - max(0, kept))
