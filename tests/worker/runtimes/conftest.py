"""A device, a stand-in for the blob cache, and models to put into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worker.runtimes.formats import FORMATS, Format, Local, Publish, pack_program, publish
from worker.device.cpu import CpuDevice


@pytest.fixture
def device() -> CpuDevice:
    return CpuDevice()


@pytest.fixture(name="publish")
def publish_here(tmp_path: Path) -> Publish:
    """Put the files of a Packed into a cache folder and write its manifest."""
    return lambda packed, name="model": publish(packed, tmp_path / "cache", name)


@pytest.fixture(params=sorted(FORMATS))
def model_format(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


@pytest.fixture
def program(tmp_path: Path, publish: Publish) -> Local:
    """The MLP as a published `pytorch_program`."""
    return publish(pack_program(tmp_path / "packed"))
