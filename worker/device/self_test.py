"""The self-test of a device: a tiny computation with a known answer, waited for.

Whatever a device call raises, the question is whether the device still computes. No list of error
texts answers it: a lost context shows as many errors, of several libraries. A tiny product does,
since on a lost context every later call fails too. It takes 20 microseconds on a CPU.
"""

from __future__ import annotations

import torch

from shared import failpoints
from worker.device.base import Device
from worker.device.out_of_memory import out_of_memory
from worker.supervisor.progress import Progress

# Small whole numbers: exact in every format that a device may multiply in.
_GIVEN = torch.arange(16, dtype=torch.float32).reshape(4, 4)
_EXPECTED = [[57, 63, 69, 75], [153, 175, 197, 219], [249, 287, 325, 363], [345, 399, 453, 507]]


class SelfTest:
    """The self-test of `device`. `progress` shows the watchdog that it runs: a device that does not
    answer is as lost as one that fails."""

    def __init__(self, device: Device, progress: Progress) -> None:
        self._device = device
        self._progress = progress

    def run(self) -> str:
        """Why the device cannot be used, '' if it can. Belongs to the device thread. A device
        without free memory is not lost."""
        self._progress.start_test()
        try:
            return "" if self._computes() else "a tiny product has a wrong result"
        except Exception as error:
            return "" if out_of_memory(error) else str(error) or type(error).__name__
        finally:
            self._progress.end_test()

    def _computes(self) -> bool:
        device = self._device
        failpoints.reach_now("self_test.mid")
        with device.computing():
            given = device.upload(_GIVEN)
            (found,) = device.download([given @ given + 1])
        device.synchronise()
        return bool(found.tolist() == _EXPECTED)
