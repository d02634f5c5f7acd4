"""The fixtures of the runtimes: packing is tested by loading what was packed."""

from __future__ import annotations

from tests.worker.runtimes.conftest import device, model_format, program, publish_here

__all__ = ["device", "model_format", "program", "publish_here"]
