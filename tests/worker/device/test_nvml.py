"""NVML that cannot be used is a clear error, not a crash of the driver's library."""

from __future__ import annotations

import pytest
import torch

from shared.errors import Unavailable
from worker.device.nvml import Nvml


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_driver_it_says_so():
    """The library's own reason is passed on."""
    with pytest.raises(Unavailable, match="NVML"):
        Nvml("GPU-00000000-0000-0000-0000-000000000000")
