"""What a gateway expects a copy to take is what a worker reserves for it."""

from __future__ import annotations

import pytest

from router.fleet.footprints import size
from shared.manifest import PLATFORMS, Manifest
from tests.helpers.factories import file_entry, manifest
from worker.residency.ledger import predict


def of(platform: str) -> Manifest:
    """A version with equal weights twice, and 30 bytes beside them."""
    files = [
        file_entry("weights/0.safetensors", "a", 100),
        file_entry("weights/1.safetensors", "a", 100),
        file_entry("program.json", "b", 30),
    ]
    return manifest(platform=platform, files=files)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_both_sides_count_alike_what_loads_have_shown(platform: str) -> None:
    """The gateway cannot import the worker, so the sum stands twice."""
    known = {b"own:cpu": b"7", b"host": b"5000"}
    assert size(of(platform), known) == predict(of(platform), 7).total


@pytest.mark.parametrize("platform", PLATFORMS)
def test_before_the_first_load_a_gateway_expects_no_less_than_a_worker(platform: str) -> None:
    """The sum of the files, each content once."""
    assert size(of(platform), {}) == 130 >= predict(of(platform)).total


def test_the_device_class_that_takes_most_counts() -> None:
    """Nobody knows yet on which it will be; what is no number is passed over."""
    known = {b"own:cpu": b"7", b"own:NVIDIA_H100": b"9", b"own:odd": b"many"}
    assert size(of("onnxruntime_onnx"), known) == 9
