"""A device, a stand-in for the blob cache, and models to put into it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from shared.manifest import FileEntry, Manifest
from tests.worker.runtimes.formats import FORMATS, Format, Local, Publish, pack_program
from worker.device.cpu import CpuDevice
from worker.runtimes.packaging import Packed


@pytest.fixture
def device() -> CpuDevice:
    return CpuDevice()


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    """Put the files of a Packed into a cache folder and write its manifest."""
    cache = tmp_path / "cache"
    cache.mkdir()

    def put(packed: Packed, name: str = "model") -> Local:
        entries, files = [], {}
        for file, path in packed.files.items():
            raw = path.read_bytes()
            sha256 = hashlib.sha256(raw).hexdigest()
            files[file] = cache / sha256
            files[file].write_bytes(raw)
            entries.append(FileEntry(file, sha256, len(raw)))
        manifest = Manifest(
            name=name,
            version=1,
            platform=packed.platform,
            inputs=packed.inputs,
            outputs=packed.outputs,
            files=entries,
            parameters=packed.parameters,
        )
        return Local(manifest, files)

    return put


@pytest.fixture(params=sorted(FORMATS))
def model_format(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


@pytest.fixture
def program(tmp_path: Path, publish: Publish) -> Local:
    """The MLP as a published `pytorch_program`."""
    return publish(pack_program(tmp_path / "packed"))
