"""TorchScript archives: the same bytes wherever they are written, and nothing of this machine."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from deploy.samples import exporting
from deploy.samples.nets.speaker import SpeakerEncoder

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = (torch.zeros(2, 160, 40),)
WRITE = """
import sys, torch
from pathlib import Path
from deploy.samples import exporting
from deploy.samples.nets.speaker import SpeakerEncoder
torch.manual_seed(1)
exporting.write_torchscript(SpeakerEncoder(), (torch.zeros(2, 160, 40),), Path(sys.argv[1]))
"""


@pytest.fixture
def encoder() -> SpeakerEncoder:
    torch.manual_seed(1)
    return SpeakerEncoder().eval()


def test_the_archive_computes_what_the_module_does(tmp_path: Path, encoder: SpeakerEncoder) -> None:
    """Also at a batch size that was not traced."""
    exporting.write_torchscript(encoder, EXAMPLE, tmp_path / "model.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        loaded = torch.jit.load(str(tmp_path / "model.pt"))
    mel = torch.rand(5, 160, 40)
    with torch.no_grad():
        assert torch.equal(loaded(mel), encoder(mel))


def test_the_archive_holds_no_path_of_this_machine(tmp_path: Path, encoder: SpeakerEncoder) -> None:
    """Neither the checkout nor the place of torch."""
    exporting.write_torchscript(encoder, EXAMPLE, tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "model.pt") as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    for path in (ROOT, Path(torch.__file__).parent):
        assert str(path).encode() not in content


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    """Seeded alike, two runs give one sha256."""
    digests = set()
    for name in ("one.pt", "two.pt"):
        command = [sys.executable, "-W", "ignore", "-c", WRITE, str(tmp_path / name)]
        subprocess.run(command, cwd=ROOT, check=True)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1
